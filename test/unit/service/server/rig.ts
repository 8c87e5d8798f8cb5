/** A server of the service on loopback, customers who sign, and gateways with certificates. */
import { generateKeyPairSync, webcrypto, X509Certificate } from 'node:crypto';
import 'reflect-metadata';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { connect as http2Connect } from 'node:http2';
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509';
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import type { Logger } from '../../../../src/core/kit/index.ts';
import type { FrontEnd } from '../../../../src/core/service/server/index.ts';
import type { ServiceServerOptions } from '../../../../src/core/service/server/service-server.ts';
import {
  authorityPage,
  customerMessages,
  gatewayMessages,
  ServerMetrics,
  ServiceServer,
} from '../../../../src/core/service/server/index.ts';
import {
  PrivateKey,
  signRequest,
  type SignedBody,
  type SignedMessageName,
} from '../../../../src/core/protocol/index.ts';
import { NetworkRig, SERVICE_ID } from '../identity/rig.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  readonly json: unknown;
}

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface LogLine {
  readonly level: string;
  readonly fields: object;
  readonly message: string;
}

export class ServerRig implements AsyncDisposable {
  readonly net: NetworkRig;
  readonly server: ServiceServer;
  readonly metrics = new ServerMetrics('1.0.0');
  readonly log: LogLine[] = [];
  isStoreWell = true;
  ports = { api: 0, gateways: 0 };

  private constructor(net: NetworkRig, server: (rig: ServerRig) => ServiceServer) {
    this.net = net;
    this.server = server(this);
  }

  static async open(
    more: (gatewayOf: Parameters<ServiceServerOptions['frontEnds']>[0]) => readonly FrontEnd[] = () => [],
    limits: ServiceServerOptions['limits'] = {},
    whole?: (
      net: NetworkRig,
      gatewayOf: Parameters<ServiceServerOptions['frontEnds']>[0],
      log: Logger,
    ) => readonly FrontEnd[],
  ): Promise<ServerRig> {
    const net = await NetworkRig.open();
    const { authority, principals, authenticator } = net.service;
    // Certificates are for the time that the machine has.
    net.clock.ms = Date.now();
    const tls = await authority.issueServer(['localhost', '127.0.0.1']);
    const level = (name: string, rig: ServerRig) => (fields: object, message: string) => {
      rig.log.push({ level: name, fields, message });
    };
    const rig = new ServerRig(net, (rig) => {
      const log = {
        debug: level('debug', rig),
        info: level('info', rig),
        warn: level('warn', rig),
        error: level('error', rig),
      };
      return new ServiceServer({
        tls: { api: tls, gateways: tls },
        ca: authority.certificate,
        principals,
        isProved: (headers) => authenticator.hasProved(headers),
        limits,
        metrics: rig.metrics,
        isHealthy: async () => Promise.resolve(rig.isStoreWell),
        clock: net.clock,
        log,
        frontEnds: (gatewayOf) =>
          whole?.(net, gatewayOf, log) ?? [
            authorityPage(authority.certificate),
            customerMessages(net.messages, authenticator),
            gatewayMessages(net.messages, gatewayOf),
            ...more(gatewayOf),
          ],
      });
    });
    rig.ports = await rig.server.listen({
      api: { host: '127.0.0.1', port: 0 },
      gateways: { host: '127.0.0.1', port: 0 },
    });
    return rig;
  }

  get root(): Credentials {
    if (this.net.service.rootKey === null) throw new Error('the first server makes a key');
    return this.net.service.rootKey;
  }

  /** An account with a key. */
  async account(name: string): Promise<Credentials & { readonly accountId: string }> {
    const { accounts, keys } = this.net.service;
    const { accountId } = await accounts.create({ name, accountId: null, clientToken: null }, this.net.signal);
    return await keys.create({ accountId, userName: name }, this.net.signal);
  }

  /** By HTTP/1.1 to either listener. */
  async ask(options: RequestOptions & { readonly to?: 'api' | 'gateways'; readonly body?: string }): Promise<Answer> {
    const { to = 'api', body, ...rest } = options;
    const ca = this.net.service.authority.certificate;
    return await new Promise((resolve, reject) => {
      const request = httpsRequest(
        { host: '127.0.0.1', port: this.ports[to], ca, agent: false, ...rest },
        (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('error', reject);
          response.on('end', () => {
            resolve(answerOf(response.statusCode ?? 0, response.headers, Buffer.concat(parts).toString('utf8')));
          });
        },
      );
      request.on('error', reject);
      request.end(body);
    });
  }

  /** A message of a user. */
  async say(who: Credentials, name: string, input: unknown): Promise<Answer> {
    const body = JSON.stringify(input);
    const path = `/v1/messages/${name}`;
    const host = `127.0.0.1:${String(this.ports.api)}`;
    const signer = new SignatureV4({ credentials: who, region: 'lab-1', service: 'sgw', sha256: Sha256 });
    const { headers } = await signer.sign(
      {
        ...{ method: 'POST', protocol: 'https:', hostname: '127.0.0.1', path, query: {}, body },
        headers: { host, 'content-type': 'application/json' },
      },
      { signingDate: new Date(this.net.clock.ms) },
    );
    return await this.ask({ method: 'POST', path, headers, body });
  }

  /** A message of a device, on the listener of customers. */
  async tell(name: string, input: unknown): Promise<Answer> {
    const headers = { 'content-type': 'application/json' };
    return await this.ask({ method: 'POST', path: `/v1/messages/${name}`, headers, body: JSON.stringify(input) });
  }

  /** A gateway of an account, activated over the network, with its certificate. */
  async gateway(who: Credentials & { readonly accountId: string }, name = 'lab'): Promise<RigGateway> {
    const device = new RigGateway(this, PrivateKey.make(this.net.random));
    await device.activate(who, name);
    await device.certify();
    return device;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close(AbortSignal.abort());
  }
}

function answerOf(status: number, headers: Answer['headers'], text: string): Answer {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status, headers, text, json };
}

export class RigGateway {
  readonly key: PrivateKey;
  readonly #rig: ServerRig;
  gatewayId = '';
  credentialId: string | null = null;
  certificate = '';
  #signer = '';

  constructor(rig: ServerRig, key: PrivateKey) {
    this.#rig = rig;
    this.key = key;
  }

  sign<N extends SignedMessageName>(name: N, body: SignedBody<N>): unknown {
    const { clock, random } = this.#rig.net;
    const { key, credentialId } = this;
    return signRequest({ key, signer: this.#signer, credentialId, serviceId: SERVICE_ID, clock, random }, name, body);
  }

  async activate(who: Credentials & { readonly accountId: string }, gatewayName: string): Promise<void> {
    const rig = this.#rig;
    const metadata = { name: gatewayName };
    const { publicKey } = this.key;
    const register = await rig.tell('activation.register', { publicKey, metadata });
    const { activationId, challenge } = register.json as { activationId: string; challenge: string };
    this.#signer = activationId;
    const proved = await rig.tell('activation.prove', this.sign('activation.prove', { challenge, metadata }));
    const { activationKey } = proved.json as { activationKey: string };
    const { accountId } = who;
    const claim = {
      activationKey,
      gatewayId: null,
      gatewayName,
      accountId,
      mode: 'cached',
      region: 'lab-1',
      confirm: true,
    };
    const { gatewayId } = (await rig.say(who, 'activation.claim', claim)).json as { gatewayId: string };
    const body = { activationKey, gatewayId, accountId };
    const credential = await rig.tell('activation.credential', this.sign('activation.credential', body));
    this.credentialId = (credential.json as { credentialId: string }).credentialId;
    this.gatewayId = gatewayId;
    this.#signer = gatewayId;
  }

  async certify(): Promise<Answer> {
    const answer = await this.#rig.tell(
      'gateway.certificate',
      this.sign('gateway.certificate', { csr: await csrOf(this.key) }),
    );
    if (answer.status === 200) this.certificate = (answer.json as { certificate: string }).certificate;
    return answer;
  }

  /** What TLS needs of it. */
  get tls(): { cert: string; key: string } {
    return { cert: this.certificate, key: pemOf(this.key) };
  }

  async say(name: string, input: unknown): Promise<Answer> {
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify(input);
    return await this.#rig.ask({
      ...this.tls,
      to: 'gateways',
      method: 'POST',
      path: `/v1/messages/${name}`,
      headers,
      body,
    });
  }

  /** The same over HTTP/2. */
  async say2(name: string, input: unknown): Promise<Answer> {
    const ca = this.#rig.net.service.authority.certificate;
    const session = http2Connect(`https://127.0.0.1:${String(this.#rig.ports.gateways)}`, { ca, ...this.tls });
    try {
      return await new Promise((resolve, reject) => {
        session.on('error', reject);
        const stream = session.request({
          ...{ ':method': 'POST', ':path': `/v1/messages/${name}`, 'content-type': 'application/json' },
        });
        let status = 0;
        let text = '';
        stream.setEncoding('utf8');
        stream.on('response', (headers) => (status = headers[':status'] ?? 0));
        stream.on('data', (part: string) => (text += part));
        stream.on('error', reject);
        stream.on('end', () => {
          resolve(answerOf(status, {}, text));
        });
        stream.end(JSON.stringify(input));
      });
    } finally {
      session.close();
    }
  }
}

function pemOf(key: PrivateKey): string {
  const prefix = Buffer.from('302e020100300506032b657004220420', 'hex');
  const der = Buffer.concat([prefix, key.secret()]);
  return `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`;
}

/** A request for a certificate of this key. */
export async function csrOf(key: PrivateKey, name = 'CN=whatever'): Promise<string> {
  const der = Buffer.from(pemOf(key).split('\n')[1] ?? '', 'base64');
  const privateKey = await webcrypto.subtle.importKey('pkcs8', der, 'Ed25519', true, ['sign']);
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.from(key.publicKey, 'base64url')]);
  const publicKey = await webcrypto.subtle.importKey('spki', spki, 'Ed25519', true, ['verify']);
  const request = await Pkcs10CertificateRequestGenerator.create(
    { name, keys: { privateKey, publicKey }, signingAlgorithm: { name: 'Ed25519' } },
    webcrypto,
  );
  return request.toString('pem');
}

/** A certificate for a key that the service never saw, by a CA that it never was. */
export const strangeKey = (): string =>
  generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

export const readCertificate = (pem: string): X509Certificate => new X509Certificate(pem);
