/**
 * What a member shows to another: a certificate that it makes of its own identity key. Nobody else signs it, and nothing in it
 * counts but the key, whose fingerprint the group's document has; the handshake proves that the other side holds it.
 */
import type { X509Certificate } from 'node:crypto';
import { fingerprintOf, publicKeyOf, webKeysOf, type PrivateKey } from '../../protocol/index.ts';

/** Nobody looks at the dates: a clock that is wrong must not part a group. */
const FROM = new Date('2000-01-01T00:00:00Z');
const UNTIL = new Date('2999-12-31T00:00:00Z');

/** PEM. Loads what makes it. */
export async function memberCertificate(key: PrivateKey, gatewayId: string): Promise<string> {
  // What it is made with needs this loaded first.
  await import('reflect-metadata');
  const { X509CertificateGenerator } = await import('@peculiar/x509');
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${gatewayId}`,
    notBefore: FROM,
    notAfter: UNTIL,
    keys: await webKeysOf(key),
    signingAlgorithm: { name: 'Ed25519' },
  });
  return certificate.toString('pem');
}

/** The fingerprint of the identity key that a certificate is of; undefined when its key is of another kind, or there is none. */
export function certifiedFingerprint(certificate: X509Certificate | undefined): string | undefined {
  const publicKey = certificate === undefined ? undefined : publicKeyOf(certificate.publicKey);
  return publicKey === undefined ? undefined : fingerprintOf(publicKey);
}
