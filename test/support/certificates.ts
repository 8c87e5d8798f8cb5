/** A certificate authority for tests, and what it signs: a server on loopback, and gateways by their ids. */
import 'reflect-metadata';
import { createPrivateKey, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { ServiceIdentity } from '../../src/core/objectstore/index.ts';

const DAY_MS = 24 * 60 * 60_000;
const ED25519 = { name: 'Ed25519' } as const;

type KeyPair = webcrypto.CryptoKeyPair;

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);

export interface Signed {
  /** PEM. */
  readonly certificate: string;
  readonly privateKey: string;
}

export class TestAuthority {
  readonly ca: string;
  readonly #keys: KeyPair;
  readonly #certificate: x509.X509Certificate;
  #serial = 1;

  private constructor(keys: KeyPair, certificate: x509.X509Certificate) {
    this.#keys = keys;
    this.#certificate = certificate;
    this.ca = certificate.toString('pem');
  }

  static async create(): Promise<TestAuthority> {
    const keys = (await webcrypto.subtle.generateKey(ED25519, true, ['sign', 'verify'])) as KeyPair;
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: '01',
      name: 'CN=sgw test',
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + DAY_MS),
      signingAlgorithm: ED25519,
      keys,
      extensions: [new x509.BasicConstraintsExtension(true, 1, true)],
    });
    return new TestAuthority(keys, certificate);
  }

  /** For a server on 127.0.0.1. */
  async server(): Promise<Signed> {
    return await this.#sign('CN=sgw service', [
      new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }]),
    ]);
  }

  /** For a gateway. */
  async identity(gatewayId: string): Promise<ServiceIdentity> {
    return { ca: this.ca, ...(await this.#sign(`CN=${gatewayId}`, [])) };
  }

  async #sign(subject: string, extensions: x509.Extension[]): Promise<Signed> {
    const keys = (await webcrypto.subtle.generateKey(ED25519, true, ['sign', 'verify'])) as KeyPair;
    this.#serial += 1;
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: this.#serial.toString(16).padStart(2, '0'),
      subject,
      issuer: this.#certificate.subject,
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + DAY_MS),
      signingKey: this.#keys.privateKey,
      publicKey: keys.publicKey,
      signingAlgorithm: ED25519,
      extensions,
    });
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
    return {
      certificate: certificate.toString('pem'),
      privateKey: String(
        createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({ type: 'pkcs8', format: 'pem' }),
      ),
    };
  }
}
