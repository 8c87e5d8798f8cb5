/** AWS Signature Version 4 of a request to the service, under the signing name `sgw`. */

/** An access key of the service. */
export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** The service takes any: it is one place. */
const REGION = 'local';

export interface RequestToSign {
  readonly method: string;
  readonly host: string;
  /** Without a query. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Instead of that of JSON. */
  readonly contentType?: string;
  /** SHA-256 of the body in hex, where it is known: then it is named in a header. */
  readonly bodySha256?: string;
}

/** The headers that the request is sent with, the signature among them. */
export async function signedHeaders(
  request: RequestToSign,
  credentials: AccessKey,
  now: Date,
): Promise<Record<string, string>> {
  const [{ SignatureV4 }, { Sha256 }] = await Promise.all([
    import('@smithy/signature-v4'),
    import('@aws-crypto/sha256-js'),
  ]);
  const signer = new SignatureV4({ service: 'sgw', region: REGION, credentials, sha256: Sha256 });
  const { method, host, path, body, query = {}, contentType = 'application/json', bodySha256 } = request;
  const signed = await signer.sign(
    {
      method,
      protocol: 'https:',
      hostname: host.replace(/:\d+$/, ''),
      path,
      query: { ...query },
      headers: {
        ...{ host, 'content-type': contentType },
        ...(bodySha256 === undefined ? {} : { 'x-amz-content-sha256': bodySha256 }),
      },
      body,
    },
    { signingDate: now },
  );
  return signed.headers;
}
