/**
 * The service's own certificate authority: it signs the certificates of the service's listeners, and those that gateways
 * show. Its key is P-256, which every TLS library takes; it lies sealed in the store and in the memory of each server.
 *
 * States: none -> made by the first server, for good. Two servers that begin at once agree by create-if-absent.
 * A gateway's certificate is for the key that its activation proved and for nothing else: `CN` is the gateway's id.
 */
import 'reflect-metadata';
import { createHash, createPublicKey, KeyObject, webcrypto, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate as Certificate,
  X509CertificateGenerator,
  type Extension,
} from '@peculiar/x509';
import { createDocument, readDocument } from '../../blockstore/index.ts';
import { assert, SgwError } from '../../kit/index.ts';
import { publicKeyOf, type MessageResult } from '../../protocol/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import { serviceKeys } from '../keys.ts';
import type { ServiceKey } from './service-key.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const AUTHORITY_DAYS = 20 * 365;
const SERVER_DAYS = 90;
const GATEWAY_DAYS = 7;
/** For clocks that are behind ours. */
const BACKDATE_MS = 5 * MINUTE_MS;
const SERIAL_BYTES = 16;
const CSR_CHARACTERS_MAX = 4096;

interface StoredAuthority {
  /** PEM. */
  readonly certificate: string;
  /** PKCS #8. @see ServiceKey.seal */
  readonly sealedKey: string;
  readonly createdAt: string;
}

/** What a listener shows. */
export interface ServerCertificate {
  /** PEM. */
  readonly certificate: string;
  readonly privateKey: string;
  readonly expiresAtMs: number;
}

export class CertificateAuthority {
  /** PEM. */
  readonly certificate: string;
  /** SHA-256 of the certificate in DER, hex. */
  readonly fingerprint: string;
  readonly #context: ServiceContext;
  readonly #issuer: Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(context: ServiceContext, certificate: string, key: webcrypto.CryptoKey) {
    this.#context = context;
    this.certificate = certificate;
    this.#issuer = new Certificate(certificate);
    this.#key = key;
    this.fingerprint = createHash('sha256').update(new X509Certificate(certificate).raw).digest('hex');
  }

  /** Makes the CA where there is none. Durable when it resolves. @throws denied `service-key-wrong` */
  static async open(
    context: ServiceContext,
    serviceKey: ServiceKey,
    signal: AbortSignal,
  ): Promise<CertificateAuthority> {
    const { blocks } = context;
    let stored = (await readDocument<StoredAuthority>(blocks, serviceKeys.authority, signal))?.value;
    if (stored === undefined) {
      const made = await makeAuthority(context, serviceKey);
      const isOurs = await createDocument(blocks, serviceKeys.authority, made, signal);
      stored = isOurs ? made : (await readDocument<StoredAuthority>(blocks, serviceKeys.authority, signal))?.value;
    }
    assert(stored !== undefined, 'the CA is never removed');
    const secret = serviceKey.unseal(stored.sealedKey, serviceKeys.authority);
    const key = await webcrypto.subtle.importKey('pkcs8', secret, ALGORITHM, false, ['sign']);
    secret.fill(0);
    return new CertificateAuthority(context, stored.certificate, key);
  }

  /** For a listener that is reached by these names and addresses. */
  async issueServer(names: readonly string[]): Promise<ServerCertificate> {
    const pair = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const nowMs = this.#context.blocks.clock.nowMs();
    const expiresAtMs = nowMs + SERVER_DAYS * DAY_MS;
    const certificate = await this.#issue('sgw service', pair.publicKey, expiresAtMs, [
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(
        names.map((name) => ({ type: isIP(name) === 0 ? ('dns' as const) : ('ip' as const), value: name })),
      ),
    ]);
    const privateKey = KeyObject.from(pair.privateKey).export({ type: 'pkcs8', format: 'pem' });
    return { certificate, privateKey: privateKey.toString(), expiresAtMs };
  }

  /**
   * A client certificate for a gateway.
   * @throws invalid `bad-certificate-request`; denied `certificate-key-wrong` when it is for another key than the gateway's
   */
  async issueGateway(
    gateway: { readonly gatewayId: string; readonly publicKey: string },
    csr: unknown,
  ): Promise<MessageResult<'gateway.certificate'>> {
    const request = await readRequest(csr);
    if (keyOf(Buffer.from(request.publicKey.rawData)) !== gateway.publicKey) {
      const message = `the certificate request is not for the key of gateway ${gateway.gatewayId}`;
      throw new SgwError('denied', 'certificate-key-wrong', message, {
        hint: "A gateway's certificate is for the key that it was activated with.",
      });
    }
    const expiresAtMs = this.#context.blocks.clock.nowMs() + GATEWAY_DAYS * DAY_MS;
    const certificate = await this.#issue(gateway.gatewayId, request.publicKey, expiresAtMs, [
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth]),
    ]);
    return {
      certificate,
      caCertificate: this.certificate,
      issuedAt: timeOf(this.#context),
      expiresAt: new Date(expiresAtMs).toISOString(),
    };
  }

  async #issue(
    commonName: string,
    publicKey: webcrypto.CryptoKey | Pkcs10CertificateRequest['publicKey'],
    expiresAtMs: number,
    extensions: readonly Extension[],
  ): Promise<string> {
    const certificate = await X509CertificateGenerator.create(
      {
        serialNumber: serialOf(this.#context),
        subject: `CN=${commonName}`,
        issuer: this.#issuer.subject,
        notBefore: new Date(this.#context.blocks.clock.nowMs() - BACKDATE_MS),
        notAfter: new Date(expiresAtMs),
        publicKey,
        signingKey: this.#key,
        signingAlgorithm: ALGORITHM,
        extensions: [
          new BasicConstraintsExtension(false, undefined, true),
          new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
          await AuthorityKeyIdentifierExtension.create(this.#issuer, false, webcrypto),
          ...extensions,
        ],
      },
      webcrypto,
    );
    return certificate.toString('pem');
  }
}

async function makeAuthority(context: ServiceContext, serviceKey: ServiceKey): Promise<StoredAuthority> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const nowMs = context.blocks.clock.nowMs();
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serialOf(context),
      name: `CN=sgw service ${context.serviceId}`,
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(nowMs + AUTHORITY_DAYS * DAY_MS),
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  const secret = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const sealedKey = serviceKey.seal(secret, serviceKeys.authority);
  secret.fill(0);
  return { certificate: certificate.toString('pem'), sealedKey, createdAt: timeOf(context) };
}

/** Positive, and never the same again. */
function serialOf({ blocks }: ServiceContext): string {
  const bytes = Buffer.from(blocks.random.bytes(SERIAL_BYTES));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

/** A request that whoever holds its key has signed. */
async function readRequest(csr: unknown): Promise<Pkcs10CertificateRequest> {
  const bad = (): SgwError =>
    new SgwError('invalid', 'bad-certificate-request', 'the certificate request is no PKCS #10 signed by its own key');
  if (typeof csr !== 'string' || csr.length > CSR_CHARACTERS_MAX) throw bad();
  try {
    const request = new Pkcs10CertificateRequest(csr);
    if (await request.verify(webcrypto)) return request;
  } catch {
    // Whatever was wrong with it.
  }
  throw bad();
}

/** An Ed25519 public key in its 32 bytes, base64url; undefined for any other. */
export function keyOf(spki: Buffer): string | undefined {
  try {
    return publicKeyOf(createPublicKey({ key: spki, format: 'der', type: 'spki' }));
  } catch {
    return undefined;
  }
}
