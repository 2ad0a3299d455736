//! The credentials provider of redis-rs, as its documentation has it for each way to sign in.

use std::sync::Arc;

use azure_core::cloud::CustomConfiguration;
use azure_core::http::{ClientOptions, Transport};
use azure_identity::{
    ClientAssertionCredentialOptions, ClientCertificateCredentialOptions, ClientSecretCredentialOptions, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use openssl::error::ErrorStack;
use openssl::{base64, pkcs12::Pkcs12, pkey::PKey, x509::X509};
use redis::{ClientCertificate, EntraIdCredentialsProvider};

use crate::reply::Failure;
use crate::{Credential, Entra};

/// A provider that is not started yet.
pub fn provider(entra: &Entra, credential: Credential, scopes: Vec<String>) -> Result<EntraIdCredentialsProvider, Failure> {
    let Credential { kind, client_id, .. } = credential;
    Ok(match kind.as_str() {
        "client-secret" => EntraIdCredentialsProvider::new_client_secret_with_scopes(
            entra.tenant_id.clone(),
            client_id,
            credential.client_secret,
            scopes,
            Some(ClientSecretCredentialOptions { client_options: client_options(entra)? }),
        )?,
        "certificate" => EntraIdCredentialsProvider::new_client_certificate_with_scopes(
            entra.tenant_id.clone(),
            client_id,
            ClientCertificate {
                base64_pkcs12: base64_pkcs12(credential.certificate_pem.as_bytes())
                    .map_err(|error| Failure::config(format!("certificate_pem: {error}")))?,
                password: None,
            },
            scopes,
            Some(ClientCertificateCredentialOptions { client_options: client_options(entra)?, password: None }),
        )?,
        // The provider has no constructor for it: it is a "custom credential implementation".
        "workload-identity" => {
            let options = WorkloadIdentityCredentialOptions {
                credential_options: ClientAssertionCredentialOptions { client_options: client_options(entra)? },
                client_id: Some(client_id),
                tenant_id: Some(entra.tenant_id.clone()),
                token_file_path: Some(credential.token_file),
            };
            let credential =
                WorkloadIdentityCredential::new(Some(options)).map_err(|error| Failure::config(format!("workload identity: {error}")))?;
            EntraIdCredentialsProvider::new_with_credential(credential, scopes)?
        }
        "managed-identity" if client_id.is_empty() => {
            EntraIdCredentialsProvider::new_system_assigned_managed_identity_with_scopes(scopes, None)?
        }
        "managed-identity" => EntraIdCredentialsProvider::new_user_assigned_managed_identity_with_scopes(
            scopes,
            Some(ManagedIdentityCredentialOptions { user_assigned_id: Some(UserAssignedId::ClientId(client_id)), ..Default::default() }),
        )?,
        kind => return Err(Failure::unsupported(format!("this driver has no credential kind {kind:?}"))),
    })
}

/// What differs from the defaults of a credential: where the issuer is, and what its certificate is signed with.
fn client_options(entra: &Entra) -> Result<ClientOptions, Failure> {
    let mut http = reqwest::Client::builder();
    if let Some(pem) = &entra.ca_pem {
        let certificate = reqwest::Certificate::from_pem(pem.as_bytes()).map_err(|error| Failure::config(format!("ca_pem: {error}")))?;
        http = http.add_root_certificate(certificate);
    }
    let http = http.build().map_err(|error| Failure::config(format!("the HTTP client for the issuer: {error}")))?;
    let mut cloud = CustomConfiguration::default();
    cloud.authority_host = entra.authority_host.clone();
    Ok(ClientOptions { cloud: Some(Arc::new(cloud.into())), transport: Some(Transport::new(Arc::new(http))), ..Default::default() })
}

/// A certificate and its key, as the library takes them.
fn base64_pkcs12(pem: &[u8]) -> Result<String, ErrorStack> {
    let (certificate, key) = (X509::from_pem(pem)?, PKey::private_key_from_pem(pem)?);
    let archive = Pkcs12::builder().cert(&certificate).pkey(&key).build2("")?;
    Ok(base64::encode_block(&archive.to_der()?))
}

#[cfg(test)]
mod tests {
    use openssl::{asn1::Asn1Time, hash::MessageDigest, rsa::Rsa};

    use super::*;

    fn pem() -> Vec<u8> {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut certificate = X509::builder().unwrap();
        certificate.set_pubkey(&key).unwrap();
        certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        certificate.sign(&key, MessageDigest::sha256()).unwrap();
        [certificate.build().to_pem().unwrap(), key.private_key_to_pem_pkcs8().unwrap()].concat()
    }

    #[test]
    fn a_certificate_keeps_its_key() {
        let pem = pem();
        let archive = base64::decode_block(&base64_pkcs12(&pem).unwrap()).unwrap();
        let parsed = Pkcs12::from_der(&archive).unwrap().parse2("").unwrap();
        assert_eq!(parsed.cert.unwrap(), X509::from_pem(&pem).unwrap());
        assert!(parsed.pkey.unwrap().public_eq(&PKey::private_key_from_pem(&pem).unwrap()));
    }

    #[test]
    fn there_is_a_provider_for_every_kind_and_an_error_for_what_makes_none() {
        let entra = Entra { authority_host: "https://127.0.0.1:1".into(), tenant_id: "tenant".into(), ca_pem: None };
        let make = |credential| provider(&entra, credential, vec!["https://redis.azure.com/.default".into()]).err().map(|error| error.kind);
        let of = |kind: &str| Credential { kind: kind.into(), client_id: "client".into(), ..Default::default() };
        let certificate_pem = String::from_utf8(pem()).unwrap();
        assert_eq!(make(Credential { client_secret: "secret".into(), ..of("client-secret") }), None);
        assert_eq!(make(Credential { certificate_pem, ..of("certificate") }), None);
        assert_eq!(make(of("certificate")), Some("config"));
        assert_eq!(make(Credential { token_file: file!().into(), ..of("workload-identity") }), None);
        assert_eq!(make(Credential { token_file: "no such file".into(), ..of("workload-identity") }), Some("config"));
        assert_eq!(make(of("managed-identity")), None);
        assert_eq!(make(Credential { client_id: String::new(), ..of("managed-identity") }), None);
        assert_eq!(make(of("smile")), Some("unsupported"));
    }
}
