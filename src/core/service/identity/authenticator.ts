/** What front ends ask of identity: who signed an HTTP request (AWS Signature Version 4). */
import type { IncomingHttpHeaders } from 'node:http';
import type { User } from './principal.ts';

/** The name of the API in the credential scope. */
export type SigningName = 'sgw' | 'ebs' | 'storagegateway';

export interface SignedHttpRequest {
  readonly method: string;
  /** Path and query as they came, not decoded. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** The whole body; null where it is still to be read as a stream. */
  readonly body: Uint8Array | null;
}

export interface SignatureVerdict {
  readonly user: User;
  /**
   * SHA-256 in hex that the body was signed with, for whoever reads it as a stream to check before the request takes
   * effect; null where the sender did not sign the body (`UNSIGNED-PAYLOAD`), or where `body` was given and has it.
   */
  readonly payloadSha256: string | null;
}

export interface Authenticator {
  /**
   * Headers are taken as SignedHeaders names them, and every `x-amz-*` header must be among them. Compared in constant
   * time; secrets are in no error. A body that is given is compared with what was signed; `UNSIGNED-PAYLOAD` is taken for
   * `ebs`, and for bodies that are read as streams. An access key that is revoked is refused within two seconds.
   * @throws denied `signature-missing`, `signature-wrong` (also for an access key that is unknown or revoked, in the same
   * words), `request-stale`; invalid `bad-signature-form`; unsupported `signature-in-query`, `signature-streaming`
   */
  verify(request: SignedHttpRequest, signingName: SigningName): Promise<SignatureVerdict>;
}
