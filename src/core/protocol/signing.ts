/** Requests that their sender signs: over a canonical text of everything that must not be changed or used elsewhere. */
import type { Clock, Random } from '../kit/index.ts';
import { canonicalJson } from './canonical.ts';
import { isSignedBy, type PrivateKey } from './identity-key.ts';
import type { Signed, SignedBody, SignedMessageName } from './messages.ts';

const DOMAIN = 'sgw-request-1';
const NONCE_BYTES = 16;

/** Who signs, and for which service. */
export interface Signer {
  readonly key: PrivateKey;
  readonly signer: string;
  readonly credentialId: string | null;
  /** The service's id: a request signed for one service is none for another. */
  readonly serviceId: string;
  readonly clock: Clock;
  readonly random: Random;
}

export function signRequest<N extends SignedMessageName>(
  by: Signer,
  message: N,
  body: SignedBody<N>,
): Signed<SignedBody<N>> {
  const unsigned = {
    body,
    signer: by.signer,
    credentialId: by.credentialId,
    timestamp: new Date(by.clock.nowMs()).toISOString(),
    nonce: by.random.bytes(NONCE_BYTES).toString('base64url'),
  };
  return { ...unsigned, signature: by.key.sign(textOf(by.serviceId, message, unsigned)) };
}

/** Whether the holder of the private key signed this very request for this service. Says nothing of its age. */
export function isSignatureOf(
  publicKey: string,
  serviceId: string,
  message: SignedMessageName,
  request: Signed<unknown>,
): boolean {
  const { signature, ...unsigned } = request;
  return isSignedBy(publicKey, textOf(serviceId, message, unsigned), signature);
}

function textOf(serviceId: string, message: string, unsigned: Omit<Signed<unknown>, 'signature'>): string {
  const { body, signer, credentialId, timestamp, nonce } = unsigned;
  return canonicalJson({ domain: DOMAIN, serviceId, message, signer, credentialId, timestamp, nonce, body });
}
