"""A session of the official Python client. Its arguments: a kubeconfig."""

import sys

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()


def refused(code, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except ApiException as error:
        assert error.status == code, error
        return
    raise AssertionError(f"not refused with {code}")


# Objects.
body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="a", labels={"by": "python"}), data={"k": "v"})
created = core.create_namespaced_config_map("default", body)
assert created.metadata.uid and created.data == {"k": "v"}
refused(409, core.create_namespaced_config_map, "default", body)
created.data["k"] = "w"
replaced = core.replace_namespaced_config_map("a", "default", created)
refused(409, core.replace_namespaced_config_map, "a", "default", created)
patched = core.patch_namespaced_config_map("a", "default", {"data": {"more": "yes"}})
assert patched.data == {"k": "w", "more": "yes"}, patched.data
for number in range(5):
    metadata = client.V1ObjectMeta(name=f"page-{number}", labels={"by": "pages"})
    core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=metadata))
page = core.list_namespaced_config_map("default", label_selector="by=pages", limit=3)
assert len(page.items) == 3
rest = core.list_namespaced_config_map("default", label_selector="by=pages", limit=3, _continue=page.metadata._continue)
assert [item.metadata.name for item in rest.items] == ["page-3", "page-4"]

# A watch.
seen = []
core.delete_namespaced_config_map("a", "default")
events = watch.Watch().stream(
    core.list_namespaced_config_map,
    "default",
    label_selector="by=python",
    resource_version=replaced.metadata.resource_version,
    timeout_seconds=2,
)
for event in events:
    seen.append((event["type"], event["object"].metadata.name))
assert seen == [("MODIFIED", "a"), ("DELETED", "a")], seen
refused(404, core.read_namespaced_config_map, "a", "default")

# A custom resource.
extensions = client.ApiextensionsV1Api()
schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
definition = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
    },
}
extensions.create_custom_resource_definition(definition)
for event in watch.Watch().stream(extensions.list_custom_resource_definition, timeout_seconds=20):
    conditions = event["object"].status.conditions or []
    if any(condition.type == "Established" and condition.status == "True" for condition in conditions):
        break
else:
    raise AssertionError("the definition is not established")
customs = client.CustomObjectsApi()
thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "one"}, "spec": {"size": 1}}
customs.create_namespaced_custom_object("example.com", "v1", "default", "things", thing)
listed = customs.list_namespaced_custom_object("example.com", "v1", "default", "things")
assert listed["items"][0]["spec"] == {"size": 1}

# A pod: its log, and commands in it.
pod = {
    "metadata": {"name": "box"},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c", "echo started; sleep 3600"]}],
    },
}
core.create_namespaced_pod("default", pod)
for event in watch.Watch().stream(core.list_namespaced_pod, "default", timeout_seconds=20):
    if event["object"].status.phase == "Running":
        break
else:
    raise AssertionError("the pod does not run")
for line in watch.Watch().stream(core.read_namespaced_pod_log, "box", "default"):
    assert line == "started", line
    break
session = stream(
    core.connect_get_namespaced_pod_exec,
    "box",
    "default",
    command=["sh", "-c", "read line; echo $line; echo bad >&2; exit 3"],
    stdin=True,
    stdout=True,
    stderr=True,
    _preload_content=False,
)
session.write_stdin("typed\n")
session.run_forever(timeout=20)
assert session.read_stdout() == "typed\n"
assert session.read_stderr() == "bad\n"
assert session.returncode == 3, session.returncode
core.delete_namespaced_pod("box", "default")
print("done")
