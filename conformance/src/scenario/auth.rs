//! Who the client is, and what it may do.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kubewire::config::{Auth, Config, Impersonation};
use kubewire::{Api, ErrorKind};
use kubewire_driver::{Client, Drive};
use serde_json::json;

use super::Need::{May, Node, Roles};
use super::pods::{create_map, failure, run_pod, sh, typed};
use super::{Calls, Env};

driven! { Auth;
    a_wrong_token_is_refused;
    a_wrong_token_is_refused_for_sessions_too: Node;
    no_credentials_are_no_rights;
    an_accounts_token_is_that_account: May("create", "", "serviceaccounts/token");
    an_account_may_do_what_its_role_says: Roles, May("create", "rbac.authorization.k8s.io", "rolebindings");
    a_session_needs_its_own_right: Roles, Node, May("create", "rbac.authorization.k8s.io", "rolebindings");
    an_impersonated_user_is_that_user: May("impersonate", "", "users");
    no_secret_is_in_what_is_printed;
}

/// The server, and nothing about who asks.
pub(super) fn nobody<R: Drive>(env: &Env<R>) -> Config {
    let mut config = env.place().config();
    config.auth = Auth::None;
    config.tls.client = None;
    config.impersonate = None;
    config
}

fn client<R: Drive>(env: &Env<R>, config: Config) -> Client<R> {
    env.builder_with(config).build().expect("a client")
}

async fn a_wrong_token_is_refused<R: Drive>(env: &Env<R>) {
    let client = client(env, nobody(env).token("not-a-token"));
    let error = failure(client.send(env.api::<ConfigMap>().list()).await);
    assert!(error.is_unauthorized(), "{error}");
    assert_eq!(error.code().map(|code| code.as_u16()), Some(401));
    assert!(!format!("{error} {error:?}").contains("not-a-token"));
}

async fn a_wrong_token_is_refused_for_sessions_too<R: Drive>(env: &Env<R>) {
    run_pod(env, "box", "sleep 3600").await;
    let client = client(env, nobody(env).token("not-a-token"));
    let error = failure(client.open(sh(env, "true")).await);
    assert!(error.is_unauthorized(), "{error}");
}

async fn no_credentials_are_no_rights<R: Drive>(env: &Env<R>) {
    let client = client(env, nobody(env));
    let error = failure(client.send(env.api::<ConfigMap>().list()).await);
    // As the server treats anonymous users.
    assert!(error.is_unauthorized() || error.is_forbidden(), "{error}");
    assert_eq!(error.kind(), ErrorKind::Api);
}

/// A client with the token of a new service account.
async fn account<R: Drive>(env: &Env<R>) -> Client<R> {
    let account: ServiceAccount = typed(json!({"metadata": {"name": "someone"}}));
    env.send(env.api().create(&account))
        .await
        .expect("it is made");
    let token = env.api::<ServiceAccount>().create_token("someone");
    let token = env
        .send(token.expiration_seconds(600))
        .await
        .expect("a token");
    let review: TokenReview = typed(json!({"metadata": {}, "spec": {"token": token.token}}));
    let review = env
        .send(Api::new().create(&review))
        .await
        .expect("a review");
    assert_eq!(
        review.status.and_then(|status| status.authenticated),
        Some(true)
    );
    client(env, nobody(env).token(token.token))
}

async fn who<R: Drive>(client: &Client<R>) -> (String, Vec<String>) {
    let review = client
        .send(Api::new().create(&SelfSubjectReview::default()))
        .await;
    let status = review.expect("a review").status.unwrap_or_default();
    let user = status.user_info.unwrap_or_default();
    (
        user.username.unwrap_or_default(),
        user.groups.unwrap_or_default(),
    )
}

async fn an_accounts_token_is_that_account<R: Drive>(env: &Env<R>) {
    let (name, groups) = who(&account(env).await).await;
    let namespace = env.place().namespace();
    assert_eq!(name, format!("system:serviceaccount:{namespace}:someone"));
    assert!(
        groups.iter().any(|group| group == "system:serviceaccounts"),
        "{groups:?}"
    );
}

/// Lets the account do something in the namespace.
async fn grant<R: Drive>(env: &Env<R>, rules: serde_json::Value) {
    let role: Role = typed(json!({"metadata": {"name": "role"}, "rules": rules}));
    env.send(env.api().create(&role)).await.expect("it is made");
    let binding: RoleBinding = typed(json!({
        "metadata": {"name": "binding"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "role"},
        "subjects": [{"kind": "ServiceAccount", "name": "someone"}],
    }));
    env.send(env.api().create(&binding))
        .await
        .expect("it is made");
}

async fn an_account_may_do_what_its_role_says<R: Drive>(env: &Env<R>) {
    create_map(env, "a", "green").await;
    let client = account(env).await;
    let error = failure(client.send(env.api::<ConfigMap>().get("a")).await);
    assert!(error.is_forbidden(), "{error}");
    grant(
        env,
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]),
    )
    .await;
    // It takes a moment until the server knows.
    while let Err(error) = client.send(env.api::<ConfigMap>().get("a")).await {
        assert!(error.is_forbidden(), "{error}");
        env.pause(std::time::Duration::from_millis(50)).await;
    }
    let error = failure(client.send(env.api::<ConfigMap>().delete("a")).await);
    assert!(error.is_forbidden(), "{error}");
    // What does not exist is not told apart from what may not be seen.
    let error = failure(client.send(env.api::<Pod>().get("none")).await);
    assert!(error.is_forbidden(), "{error}");
}

async fn a_session_needs_its_own_right<R: Drive>(env: &Env<R>) {
    run_pod(env, "box", "sleep 3600").await;
    let client = account(env).await;
    grant(
        env,
        json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]),
    )
    .await;
    while client.send(env.api::<Pod>().get("box")).await.is_err() {
        env.pause(std::time::Duration::from_millis(50)).await;
    }
    let error = failure(client.open(sh(env, "true")).await);
    assert!(error.is_forbidden(), "{error}");
    let error = failure(client.open(env.api::<Pod>().attach("box")).await);
    assert!(error.is_forbidden(), "{error}");
    let forward = env.api::<Pod>().port_forward_tunnel("box");
    assert!(failure(client.forward(forward).await).is_forbidden());
}

async fn an_impersonated_user_is_that_user<R: Drive>(env: &Env<R>) {
    let mut config = env.place().config();
    config.impersonate = Some(Impersonation::user("jane").group("readers"));
    let (name, groups) = who(&client(env, config)).await;
    assert_eq!(name, "jane");
    assert!(groups.iter().any(|group| group == "readers"), "{groups:?}");
}

async fn no_secret_is_in_what_is_printed<R: Drive>(env: &Env<R>) {
    let config = nobody(env).token("very-secret");
    let client = client(env, config.clone());
    let error = failure(client.send(env.api::<ConfigMap>().list()).await);
    let text = format!("{config:?} {client:?} {error:?} {error}");
    assert!(!text.contains("very-secret"), "{text}");
}
