/** What a gateway asks for its certificate with: PKCS #10 (RFC 2986), signed with its own key, which proves that it holds it. */
import { createPrivateKey, createPublicKey, webcrypto } from 'node:crypto';
import type { PrivateKey } from './identity-key.ts';

/** A request in PEM for the certificate of `gatewayId`, the common name. Loads what makes it. */
export async function certificateRequest(key: PrivateKey, gatewayId: string): Promise<string> {
  // What it is made with needs this loaded first.
  await import('reflect-metadata');
  const { Pkcs10CertificateRequestGenerator } = await import('@peculiar/x509');
  const own = createPrivateKey(key.pem());
  const imported = async (
    format: 'pkcs8' | 'spki',
    der: Buffer,
    use: 'sign' | 'verify',
  ): Promise<webcrypto.CryptoKey> => await webcrypto.subtle.importKey(format, der, { name: 'Ed25519' }, true, [use]);
  const keys = {
    privateKey: await imported('pkcs8', own.export({ format: 'der', type: 'pkcs8' }), 'sign'),
    publicKey: await imported('spki', createPublicKey(own).export({ format: 'der', type: 'spki' }), 'verify'),
  };
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: `CN=${gatewayId}`,
    keys,
    signingAlgorithm: { name: 'Ed25519' },
  });
  return `${request.toString('pem')}\n`;
}
