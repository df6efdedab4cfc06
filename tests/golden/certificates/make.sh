#!/bin/sh
# Makes the certificates that the tests of src/dane read, and openssl's own word on the hash of each one's SPKI.
# Their private keys are thrown away. Run it in this folder; run it again only to change them.
set -eu
keys=$(mktemp -d)
trap 'rm -rf "$keys"' EXIT
san='subjectAltName=DNS:mail.example.org'
key() { # name, genpkey's arguments
    name=$1; shift
    openssl genpkey "$@" -out "$keys/$name.key" 2>/dev/null
}
self() { # file, key, extension
    openssl req -x509 -new -key "$keys/$2.key" -subj "/CN=$1" -days 36500 -addext "$3" -out "$1.pem"
}
key rsa -algorithm RSA -pkeyopt rsa_keygen_bits:2048
key rsa-next -algorithm RSA -pkeyopt rsa_keygen_bits:2048
key p256 -algorithm EC -pkeyopt ec_paramgen_curve:P-256
key p256-next -algorithm EC -pkeyopt ec_paramgen_curve:P-256
key p384 -algorithm EC -pkeyopt ec_paramgen_curve:P-384
key p521 -algorithm EC -pkeyopt ec_paramgen_curve:P-521
key ed25519 -algorithm ED25519
key ed448 -algorithm ED448
for name in rsa p256 p384 p521 ed25519 ed448; do self "$name" "$name" "$san"; done
openssl req -x509 -new -key "$keys/p256.key" -subj /CN=mail.example.org -days 36500 \
    -addext basicConstraints=CA:FALSE -out cn-only.pem
self wildcard p384 'subjectAltName=DNS:*.example.org'
self other-host p384 'subjectAltName=DNS:www.example.net'
sleep 2
self p256-next p256-next "$san"
self rsa-next rsa-next "$san"
self p256-renewed p256 "$san"

# root -> intermediate -> leaf
key root -algorithm EC -pkeyopt ec_paramgen_curve:P-256
key intermediate -algorithm EC -pkeyopt ec_paramgen_curve:P-256
openssl req -x509 -new -key "$keys/root.key" -subj '/O=Test/CN=Root' -days 36500 -out root.pem
printf 'basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' >"$keys/ca.ext"
printf 'basicConstraints=CA:FALSE\n%s\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' "$san" >"$keys/leaf.ext"
sign() { # file, key, subject, issuer, extensions
    openssl req -new -key "$keys/$2.key" -subj "$3" -out "$keys/csr"
    openssl x509 -req -in "$keys/csr" -CA "$4.pem" -CAkey "$keys/$4.key" -CAcreateserial -CAserial "$keys/serial" \
        -days 36500 -extfile "$5" -out "$1.pem" 2>/dev/null
}
sign intermediate intermediate '/O=Test/CN=Intermediate' root "$keys/ca.ext"
sign leaf rsa '/CN=mail.example.org' intermediate "$keys/leaf.ext"

# The seed's rule, which holds for every key type.
for name in rsa p256 p384 p521 ed25519 ed448 leaf; do
    hash=$(openssl x509 -in "$name.pem" -pubkey -noout | openssl pkey -pubin -outform der | sha256sum)
    echo "$name ${hash%% *}"
done >spki-sha256
