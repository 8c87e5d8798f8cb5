/** A receiver of webhooks on loopback, with a certificate of a CA of its own. */
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { seededRandom, systemClock } from '../../../../src/core/kit/index.ts';
import { memoryStore } from '../../../../src/core/objectstore/index.ts';
import { CertificateAuthority } from '../../../../src/core/service/identity/certificates.ts';
import { ServiceKey } from '../../../../src/core/service/identity/service-key.ts';

export interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly body: Record<string, unknown>;
}

export class Receiver implements AsyncDisposable {
  readonly received: Received[] = [];
  readonly ca: string;
  readonly #server: Server;
  /** How it answers. */
  answer: (response: ServerResponse, seen: Received) => void = (response) => {
    response.writeHead(204).end();
  };

  private constructor(server: Server, ca: string) {
    this.#server = server;
    this.ca = ca;
    server.on('request', (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        const seen = { headers: request.headers, text, body: JSON.parse(text) as Record<string, unknown> };
        this.received.push(seen);
        this.answer(response, seen);
      });
    });
  }

  static async start(): Promise<Receiver> {
    const random = seededRandom(7);
    const context = {
      blocks: { objects: memoryStore(), clock: systemClock, random },
      serviceId: 'store-0123456789abcdef',
      isEmbedded: false,
    };
    const { signal } = new AbortController();
    const authority = await CertificateAuthority.open(context, new ServiceKey(random.bytes(32), random), signal);
    const { certificate, privateKey } = await authority.issueServer(['localhost', 'hooks.example', '127.0.0.1']);
    const server = createServer({ cert: certificate, key: privateKey });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new Receiver(server, authority.certificate);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `https://127.0.0.1:${String(this.port)}/hook`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
