//! Certificates, the sealed CA key, join tokens.
use rcgen::{CertificateParams, KeyPair};
use transport::identity::{
    Authority, Error, JoinToken, NewNode, SealKey, TokenError, cluster_of, hash_secret, peer_of,
};
use transport::network::PeerId;

use crate::support::{CLUSTER, Cluster};

#[test]
fn a_sealed_key_opens_with_its_seal_only() {
    let authority = Authority::generate(CLUSTER).unwrap();
    let seal = SealKey::generate();
    let sealed = authority.seal(&seal);
    let certificate = authority.certificate();

    let opened = Authority::unseal(CLUSTER, &certificate, &sealed, &seal).unwrap();
    let node = NewNode::generate().unwrap();
    let signed = opened.sign(&node.csr, PeerId(4)).unwrap();
    assert_eq!(peer_of(&signed, CLUSTER), Ok(PeerId(4)));

    let wrong_seal = SealKey::generate();
    let wrong = [
        Authority::unseal(CLUSTER, &certificate, &sealed, &wrong_seal),
        Authority::unseal("other", &certificate, &sealed, &seal),
        Authority::unseal(CLUSTER, &certificate, &[], &seal),
        Authority::unseal(CLUSTER, &certificate, &sealed[..10], &seal),
    ];
    for wrong in wrong {
        assert_eq!(wrong.unwrap_err(), Error::Unseal);
    }
    for byte in 0..sealed.len() {
        let mut tampered = sealed.clone();
        tampered[byte] ^= 1;
        let error = Authority::unseal(CLUSTER, &certificate, &tampered, &seal).unwrap_err();
        assert_eq!(error, Error::Unseal, "byte {byte}");
    }
    let other = Authority::generate(CLUSTER).unwrap().certificate();
    let error = Authority::unseal(CLUSTER, &other, &sealed, &seal).unwrap_err();
    assert_eq!(error, Error::KeyMismatch);
}

#[test]
fn sealing_twice_gives_different_bytes_and_never_the_key() {
    let authority = Authority::generate(CLUSTER).unwrap();
    let seal = SealKey::generate();
    let (one, two) = (authority.seal(&seal), authority.seal(&seal));
    assert_ne!(one, two);
    // A PKCS#8 key begins with a sequence and its version.
    assert!(
        !one.windows(4)
            .any(|bytes| bytes == [0x02, 0x01, 0x00, 0x30])
    );
}

#[test]
fn a_request_gets_the_name_that_the_cluster_gives() {
    let authority = Authority::generate(CLUSTER).unwrap();
    let key = KeyPair::generate().unwrap();
    // Asks to be node 1 and a CA.
    let mut params = CertificateParams::new(vec!["node-1.demo.yin.internal".into()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let csr = params.serialize_request(&key).unwrap().der().to_vec();
    let certificate = authority.sign(&csr, PeerId(7)).unwrap();
    assert_eq!(peer_of(&certificate, CLUSTER), Ok(PeerId(7)));
    assert_eq!(cluster_of(&certificate), Ok(CLUSTER.to_owned()));
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
    assert!(!parsed.is_ca());

    for byte in [csr.len() / 2, csr.len() - 1] {
        let mut forged = csr.clone();
        forged[byte] ^= 1;
        let error = authority.sign(&forged, PeerId(7)).unwrap_err();
        assert!(matches!(error, Error::Request(_)), "{error}");
    }
    assert!(matches!(
        authority.sign(&[0; 20_000], PeerId(7)),
        Err(Error::Request(_))
    ));
}

#[test]
fn a_certificate_names_one_node_of_one_cluster() {
    let cluster = Cluster::new();
    let certificate = cluster.identity(12).certificate;
    assert_eq!(peer_of(&certificate, CLUSTER), Ok(PeerId(12)));
    assert!(matches!(
        peer_of(&certificate, "dem"),
        Err(Error::OtherCluster(_))
    ));
    assert!(matches!(
        peer_of(b"junk", CLUSTER),
        Err(Error::Certificate(_))
    ));

    let bad: [&[&str]; 4] = [
        &["node-007.demo.yin.internal"],
        &["node-+7.demo.yin.internal"],
        &["node.demo.yin.internal"],
        &["node-1.demo.yin.internal", "node-2.demo.yin.internal"],
    ];
    for names in bad {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(names.clone()).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let named = peer_of(certificate.der(), CLUSTER);
        assert!(matches!(named, Err(Error::OtherCluster(_))), "{names:?}");
    }
}

#[test]
fn a_cluster_id_has_to_fit_into_a_host_name() {
    for id in ["a", "demo", "3f2a-11", &"x".repeat(63)] {
        assert!(Authority::generate(id).is_ok(), "{id}");
    }
    for id in ["", "Demo", "a.b", "-a", "a-", "a_b", &"x".repeat(64)] {
        let error = Authority::generate(id).unwrap_err();
        assert_eq!(error, Error::ClusterId(id.to_owned()));
    }
}

#[test]
fn tokens_come_back_as_they_were_written() {
    let authority = Authority::generate(CLUSTER).unwrap();
    let token = JoinToken::generate(&authority.certificate());
    let text = token.to_string();
    assert!(text.starts_with("YINJOIN-1-"), "{text}");
    assert_eq!(text.parse(), Ok(token.clone()));
    assert_eq!(format!("  {text}\n").parse(), Ok(token.clone()));
    assert_eq!(token.hash(), hash_secret(&token.secret));
    assert_ne!(token.hash(), token.secret);

    let wrong: [(String, TokenError); 5] = [
        ("hello".into(), TokenError::Prefix),
        (text.replace("YINJOIN-1", "YINJOIN-2"), TokenError::Prefix),
        (
            text[..text.len() - 1].into(),
            TokenError::Length(text.len() - 1),
        ),
        (format!("{text}A"), TokenError::Length(text.len() + 1)),
        (
            text.replacen(|c: char| c.is_ascii_lowercase(), "!", 1),
            TokenError::Part("first half"),
        ),
    ];
    for (text, error) in wrong {
        assert_eq!(text.parse::<JoinToken>(), Err(error.clone()));
        let words = error.to_string();
        assert!(words.contains("copy the whole line"), "{words}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let cluster = Cluster::new();
    let token = JoinToken::generate(&cluster.authority.certificate());
    let shown = format!(
        "{:?} {:?} {:?} {:?} {token:?}",
        cluster.authority,
        cluster.identity(1),
        NewNode::generate().unwrap(),
        SealKey::generate(),
    );
    assert!(shown.len() < 400, "{shown}");
    assert_eq!(shown.matches("[hidden]").count(), 5, "{shown}");
}
