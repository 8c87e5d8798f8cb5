/** What a gateway asks for its certificate with: PKCS #10 (RFC 2986), signed with its own key, which proves that it holds it. */
import { webKeysOf, type PrivateKey } from './identity-key.ts';

/** A request in PEM for the certificate of `gatewayId`, the common name. Loads what makes it. */
export async function certificateRequest(key: PrivateKey, gatewayId: string): Promise<string> {
  // What it is made with needs this loaded first.
  await import('reflect-metadata');
  const { Pkcs10CertificateRequestGenerator } = await import('@peculiar/x509');
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: `CN=${gatewayId}`,
    keys: await webKeysOf(key),
    signingAlgorithm: { name: 'Ed25519' },
  });
  return `${request.toString('pem')}\n`;
}
