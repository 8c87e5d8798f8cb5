/** AWS Signature Version 4 of a request to the service, under the signing name `sgw`. */

/** An access key of the service. */
export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** The service takes any: it is one place. */
const REGION = 'local';

/** The headers that the request is sent with, the signature among them. `path` has no query. */
export async function signedHeaders(
  request: { readonly method: string; readonly host: string; readonly path: string; readonly body: Uint8Array },
  credentials: AccessKey,
  now: Date,
): Promise<Record<string, string>> {
  const [{ SignatureV4 }, { Sha256 }] = await Promise.all([
    import('@smithy/signature-v4'),
    import('@aws-crypto/sha256-js'),
  ]);
  const signer = new SignatureV4({ service: 'sgw', region: REGION, credentials, sha256: Sha256 });
  const { method, host, path, body } = request;
  const signed = await signer.sign(
    {
      method,
      protocol: 'https:',
      hostname: host.replace(/:\d+$/, ''),
      path,
      query: {},
      headers: { host, 'content-type': 'application/json' },
      body,
    },
    { signingDate: now },
  );
  return signed.headers;
}
