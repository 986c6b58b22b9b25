//! Requests: built as they were recorded, with their answers.

use kubewire::{
    AnySubresource, Api, DeletedCollection, Dynamic, Error, ErrorKind, Get, Object, Operation,
    Patch, PatchObject, Replace, Scale, Subresource, TableApi, Verb,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::build::{
    action, common, create, delete, delete_collection, get, list, list_options, logs, object_of,
    patch, patch_of, replace, token, watch, write_options,
};
use super::expect::Shape;
use super::feed;
use super::intent::{Action, Common, Intent, LogAsk, Part, View, Write};
use super::run::{Check, Run};
use super::see::{
    as_it_is, as_metadata, as_scale, as_status, as_table, as_token, see_deleted, see_event,
    see_object, see_status, see_table, text,
};

impl Run<'_> {
    /// A request that is an operation of the public API.
    #[expect(clippy::too_many_lines, reason = "one arm an operation")]
    pub(super) fn operation(&mut self, intent: &Intent) {
        if let Some(why) = intent.must_refuse() {
            match Self::refusal(intent) {
                Some(error) if error.kind() == ErrorKind::Usage => {
                    *self.report.refused.entry(why.to_owned()).or_default() += 1;
                }
                Some(error) => self.faults.push(format!(
                    "{why}: refused with {:?} instead of Usage",
                    error.kind()
                )),
                None => self
                    .faults
                    .push(format!("{why}: the public API lets it through")),
            }
            self.answer_only();
            return;
        }
        *self.report.operations.entry(intent.label()).or_default() += 1;
        let used = self.canonical.used.clone();
        for name in used.into_iter().chain(["transport"]) {
            *self.report.equivalences.entry(name).or_default() += 1;
        }
        let api = Api::<Dynamic>::of(intent.resource.clone(), intent.namespace.clone());
        let name = intent.name.as_deref().unwrap_or_default();
        let types = (
            intent.resource.kind().to_owned(),
            intent.resource.api_version().into_owned(),
        );
        match (&intent.action, &intent.part) {
            (Action::Evict(..) | Action::Bind { .. }, _) => {
                let check = Check {
                    what: &intent.label(),
                    shape: Shape::Object,
                    verb: Some(Verb::Create),
                    with_body: true,
                    types,
                    object: &as_status,
                };
                self.call(&check, &|| action(&api, name, intent), &|status| {
                    see_status(&status)
                });
            }
            (Action::Token(ask), _) => {
                let check = Check {
                    what: "create token",
                    shape: Shape::Object,
                    verb: Some(Verb::Create),
                    with_body: true,
                    types,
                    object: &as_token,
                };
                self.call(
                    &check,
                    &|| token(&api, name, ask, &intent.common).into_call(),
                    &|token| json!([token.token, token.expiration_timestamp]),
                );
                self.typed_answer();
            }
            (_, Part::Object) if matches!(intent.view, View::Table(_)) => {
                self.table(intent, &api.table());
            }
            (_, Part::Object) if intent.view == View::Metadata => {
                let types = (
                    "PartialObjectMetadata".to_owned(),
                    "meta.k8s.io/v1".to_owned(),
                );
                self.objects(intent, &api.metadata(), &as_metadata, &types, false);
            }
            (_, Part::Object) => {
                self.objects(intent, &api, &as_it_is, &types, false);
                self.typed(intent);
            }
            (_, Part::Scale) => {
                let see = |scale: &Scale| {
                    let scale = see_object(scale);
                    as_scale(&scale).unwrap_or(scale)
                };
                self.subresource(
                    &intent.label(),
                    intent,
                    &api.scale(name),
                    &see,
                    &as_scale,
                    &types,
                );
            }
            (Action::Logs(ask), _) => self.logs(&api, name, ask, &intent.common),
            (_, Part::Log) => {}
            (_, Part::Any(sub)) => {
                self.any_subresource(intent, &api.subresource(name, sub), &types);
                self.typed_answer();
            }
            (_, Part::Finalize) => {
                if let Action::Replace(write) = &intent.action
                    && let Some(body) = object_of::<Dynamic>(write)
                {
                    let check = Check {
                        what: "finalize",
                        shape: Shape::Object,
                        verb: Some(Verb::Update),
                        with_body: true,
                        types: types.clone(),
                        object: &as_it_is,
                    };
                    self.call(
                        &check,
                        &|| replace(api.finalize(name, &body), write, &intent.common).into_call(),
                        &|object| see_object(&object),
                    );
                }
                self.any_subresource(intent, &api.subresource(name, "finalize"), &types);
                self.typed_answer();
            }
            (_, part) => {
                let part = match part {
                    Part::Ephemeral => api.ephemeral_containers(name),
                    Part::Resize => api.resize(name),
                    Part::Approval => api.approval(name),
                    _ => api.status(name),
                };
                let see = |object: &Dynamic| see_object(object);
                self.subresource(&intent.label(), intent, &part, &see, &as_it_is, &types);
                let generic = api.subresource(name, intent.part.name());
                self.any_subresource(intent, &generic, &types);
                self.typed_answer();
            }
        }
    }

    /// A table, with its rows.
    fn table(&mut self, intent: &Intent, api: &TableApi) {
        let c = &intent.common;
        let View::Table(include) = intent.view else {
            return;
        };
        let label = intent.label();
        let name = intent.name.as_deref().unwrap_or_default();
        let check = |shape, verb| Check {
            what: &label,
            shape,
            verb: Some(verb),
            with_body: true,
            types: ("Table".to_owned(), "meta.k8s.io/v1".to_owned()),
            object: &as_table,
        };
        macro_rules! include {
            ($operation:expr) => {{
                let operation = $operation;
                match include {
                    Some(include) => operation.include_object(include),
                    None => operation,
                }
            }};
        }
        match &intent.action {
            Action::Get { version } => self.call(
                &check(Shape::Object, Verb::Get),
                &|| include!(get(api.get(name), version.as_ref(), c)).into_call(),
                &see_table,
            ),
            Action::List(ask) => self.call(
                &check(Shape::Object, Verb::List),
                &|| include!(list_options!(api.list(), ask, c)).into_call(),
                &see_table,
            ),
            Action::Watch(ask) => self.call(
                &check(Shape::Watch, Verb::Watch),
                &|| include!(watch(api.watch(), ask, c)).into_call(),
                &|event| see_event(event, &see_table),
            ),
            _ => {}
        }
    }

    /// A subresource by its name.
    fn any_subresource(
        &mut self,
        intent: &Intent,
        part: &AnySubresource,
        types: &(String, String),
    ) {
        let label = format!("{}, by name", intent.label());
        if let Action::Create(write) = &intent.action {
            if let Some(body) = object_of::<Dynamic>(write) {
                let check = Check {
                    what: &label,
                    shape: Shape::Object,
                    verb: Some(Verb::Create),
                    with_body: true,
                    types: types.clone(),
                    object: &as_it_is,
                };
                self.call(
                    &check,
                    &|| {
                        let made = part.create::<_, Dynamic>(&body);
                        write_options!(made, write, &intent.common).into_call()
                    },
                    &|object| see_object(&object),
                );
            }
        } else {
            let see = |object: &Dynamic| see_object(object);
            self.subresource(&label, intent, part, &see, &as_it_is, types);
        }
    }

    /// The error of an operation that is to be refused.
    fn refusal(intent: &Intent) -> Option<Error> {
        let api = Api::<Dynamic>::of(intent.resource.clone(), intent.namespace.clone());
        let name = intent.name.as_deref().unwrap_or_default();
        let body = |write: &Write| object_of::<Dynamic>(write);
        let c = &intent.common;
        if let View::Table(include) = intent.view {
            let api = api.table();
            return match &intent.action {
                Action::Get { version } => {
                    get(api.get(name), version.as_ref(), c).into_call().err()
                }
                Action::List(ask) => list_options!(api.list(), ask, c).into_call().err(),
                Action::Watch(ask) => {
                    let mut watch = watch(api.watch(), ask, c);
                    if let Some(include) = include {
                        watch = watch.include_object(include);
                    }
                    watch.into_call().err()
                }
                _ => None,
            };
        }
        let part = api.subresource(name, intent.part.name());
        let sub = intent.part != Part::Object;
        match &intent.action {
            Action::Evict(..) | Action::Bind { .. } => action(&api, name, intent).err(),
            Action::Token(ask) => token(&api, name, ask, c).into_call().err(),
            Action::Get { version } if sub => {
                let made = part.get::<Dynamic>();
                get(made, version.as_ref(), c).into_call().err()
            }
            Action::Get { version } => get(api.get(name), version.as_ref(), c).into_call().err(),
            Action::List(ask) => list(&api, ask, c).into_call().err(),
            Action::Watch(ask) => watch(api.watch(), ask, c).into_call().err(),
            Action::Logs(ask) => logs(&api, name, ask, c).into_call().err(),
            Action::Delete(ask) => delete(&api, name, ask, c).into_call().err(),
            Action::DeleteCollection(ask, delete) => {
                delete_collection(&api, ask, delete, c).into_call().err()
            }
            Action::Create(write) if sub => {
                let made = part.create::<_, Dynamic>(&body(write)?);
                write_options!(made, write, c).into_call().err()
            }
            Action::Create(write) => create(&api, &body(write)?, write, c).into_call().err(),
            Action::Replace(write) if sub => {
                let made = part.replace(&body(write)?);
                replace(made, write, c).into_call().err()
            }
            Action::Replace(write) => {
                let made = api.replace(name, &body(write)?);
                replace(made, write, c).into_call().err()
            }
            Action::Patch { form, force, write } if sub => {
                let made = part.patch::<Dynamic>(patch_of(*form, write)?);
                patch(made, *force, write, c).into_call().err()
            }
            Action::Patch { form, force, write } => {
                let made = api.patch(name, patch_of(*form, write)?);
                patch(made, *force, write, c).into_call().err()
            }
        }
    }

    /// Objects and collections, decoded as `K`.
    pub(super) fn objects<K: Object + Serialize + Clone>(
        &mut self,
        intent: &Intent,
        api: &Api<K>,
        object: &dyn Fn(&Value) -> Option<Value>,
        types: &(String, String),
        is_typed: bool,
    ) {
        let name = intent.name.as_deref().unwrap_or_default();
        let c = &intent.common;
        let label = if is_typed {
            format!("{} as {}", intent.label(), intent.resource.kind())
        } else {
            intent.label()
        };
        let check = |shape, verb| Check {
            what: &label,
            shape,
            verb: Some(verb),
            with_body: !is_typed,
            types: types.clone(),
            object,
        };
        let see = |object: K| see_object(&object);
        match &intent.action {
            Action::Get { version } => {
                let get = || get(api.get(name), version.as_ref(), c);
                self.call(
                    &check(Shape::Object, Verb::Get),
                    &|| get().into_call(),
                    &see,
                );
                self.call(
                    &check(Shape::Optional, Verb::Get),
                    &|| get().optional().into_call(),
                    &|object| object.map_or(Value::Null, see),
                );
            }
            Action::List(ask) => {
                self.call(
                    &check(Shape::List, Verb::List),
                    &|| list(api, ask, c).into_call(),
                    &|list| {
                        let items: Vec<_> = list.items.into_iter().map(see).collect();
                        json!({ "metadata": list.metadata, "items": items })
                    },
                );
                // How many items there are before a fault is known for whole bodies only.
                if serde_json::from_slice::<Value>(&self.answer.body).is_ok() {
                    self.call(
                        &check(Shape::Items, Verb::List),
                        &|| list(api, ask, c).items().into_call(),
                        &see,
                    );
                }
            }
            Action::Watch(ask) => self.call(
                &check(Shape::Watch, Verb::Watch),
                &|| watch(api.watch(), ask, c).into_call(),
                &|event| see_event(event, &see),
            ),
            Action::Create(write) => {
                if let Some(body) = object_of::<K>(write) {
                    self.call(
                        &check(Shape::Object, Verb::Create),
                        &|| create(api, &body, write, c).into_call(),
                        &see,
                    );
                }
            }
            Action::Replace(write) => {
                if let Some(body) = object_of::<K>(write) {
                    self.call(
                        &check(Shape::Object, Verb::Update),
                        &|| replace(api.replace(name, &body), write, c).into_call(),
                        &see,
                    );
                }
            }
            Action::Patch { form, force, write } => {
                if let Some(body) = patch_of(*form, write) {
                    self.call(
                        &check(Shape::Object, Verb::Patch),
                        &|| patch(api.patch(name, body.clone()), *force, write, c).into_call(),
                        &see,
                    );
                }
            }
            Action::Delete(ask) => self.call(
                &check(Shape::Deleted, Verb::Delete),
                &|| delete(api, name, ask, c).into_call(),
                &|deleted| see_deleted(deleted, &see),
            ),
            Action::DeleteCollection(ask, delete) => self.call(
                &check(Shape::DeletedCollection, Verb::DeleteCollection),
                &|| delete_collection(api, ask, delete, c).into_call(),
                &|deleted| match deleted {
                    DeletedCollection::Status(status) => {
                        json!({ "status": feed::status_value(&json!(status)) })
                    }
                    DeletedCollection::List(list) => {
                        let items: Vec<_> = list.items.into_iter().map(see).collect();
                        json!({ "list": { "metadata": list.metadata, "items": items } })
                    }
                    _ => Value::Null,
                },
            ),
            _ => {}
        }
    }

    fn subresource<T: Object + Serialize>(
        &mut self,
        label: &str,
        intent: &Intent,
        part: &impl Reachable<T>,
        see: &dyn Fn(&T) -> Value,
        object: &dyn Fn(&Value) -> Option<Value>,
        types: &(String, String),
    ) {
        let c = &intent.common;
        let check = |verb| Check {
            what: label,
            shape: Shape::Object,
            verb: Some(verb),
            with_body: true,
            types: types.clone(),
            object,
        };
        let see = |object: T| see(&object);
        match &intent.action {
            Action::Get { version } => self.call(
                &check(Verb::Get),
                &|| get(part.get(), version.as_ref(), c).into_call(),
                &see,
            ),
            Action::Replace(write) => {
                if let Some(body) = object_of::<T>(write) {
                    self.call(
                        &check(Verb::Update),
                        &|| replace(part.replace(&body), write, c).into_call(),
                        &see,
                    );
                }
            }
            Action::Patch { form, force, write } => {
                if let Some(body) = patch_of(*form, write) {
                    self.call(
                        &check(Verb::Patch),
                        &|| patch(part.patch(body.clone()), *force, write, c).into_call(),
                        &see,
                    );
                }
            }
            _ => {}
        }
    }

    fn logs(&mut self, api: &Api<Dynamic>, name: &str, ask: &LogAsk, c: &Common) {
        let check = |what, shape, verb| Check {
            what,
            shape,
            verb: Some(verb),
            with_body: true,
            types: Default::default(),
            object: &as_it_is,
        };
        let verb = if ask.follow { Verb::Watch } else { Verb::Get };
        self.call(
            &check("logs", Shape::Lines, verb),
            &|| logs(api, name, ask, c).into_call(),
            &|line| text(line.bytes()).into(),
        );
        if !ask.follow {
            self.call(
                &check("logs as text", Shape::Bytes, verb),
                &|| logs(api, name, ask, c).text().into_call(),
                &|body| text(&body).into(),
            );
        }
    }
}

/// A subresource, by its type or by its name.
trait Reachable<T> {
    fn get(&self) -> Get<T>;
    fn replace(&self, body: &T) -> Replace<T>;
    fn patch(&self, patch: Patch) -> PatchObject<T>;
}

impl<T: Object + Serialize> Reachable<T> for Subresource<T> {
    fn get(&self) -> Get<T> {
        self.get()
    }

    fn replace(&self, body: &T) -> Replace<T> {
        self.replace(body)
    }

    fn patch(&self, patch: Patch) -> PatchObject<T> {
        self.patch(patch)
    }
}

impl Reachable<Dynamic> for AnySubresource {
    fn get(&self) -> Get<Dynamic> {
        self.get()
    }

    fn replace(&self, body: &Dynamic) -> Replace<Dynamic> {
        self.replace(body)
    }

    fn patch(&self, patch: Patch) -> PatchObject<Dynamic> {
        self.patch(patch)
    }
}
