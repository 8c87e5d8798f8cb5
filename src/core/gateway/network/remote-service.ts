/** The service as a gateway has it that was activated over the network. */
import { SgwError } from '../../kit/index.ts';
import type { MessageName, ServiceConnections, ServiceTransport } from '../../protocol/index.ts';
import type { RemoteServiceState } from '../../state/index.ts';
import type { GatewayParts } from '../parts.ts';
import { gatewayTls } from './identity.ts';
import { mayPass, reachService, type RemoteTransport } from './reach.ts';

type Parts = Pick<GatewayParts, 'home' | 'clock' | 'random' | 'reachService'>;

/**
 * The service of a gateway that was activated over the network: by mutual TLS, with the certificate of now; by
 * another server of it when the one that was asked is gone. What only an operator of the service may say is refused here.
 */
export class RemoteService implements AsyncDisposable {
  readonly #parts: Parts;
  readonly #service: RemoteServiceState;
  #open:
    { readonly certificate: string; readonly url: string; readonly transport: Promise<RemoteTransport> } | undefined;
  /** Which of the servers is asked: the one that answered last, until it does not. */
  #turn = 0;

  constructor(parts: Parts, service: RemoteServiceState) {
    this.#parts = parts;
    this.#service = service;
  }

  get connections(): ServiceConnections {
    return {
      serviceId: this.#service.serviceId,
      gateway: {
        request: async (name, input, options) => await this.#request(name, input, options),
      },
      operator: {
        request: async (name) => Promise.reject(notHere(name, this.#service.url)),
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await (await open?.transport.catch(() => undefined))?.[Symbol.asyncDispose]();
  }

  /** A message that no server got goes to the next one; after another failure the next message does. */
  async #request(...[name, input, options]: Parameters<ServiceTransport['request']>): Promise<never> {
    for (let tries = 1; ; tries++) {
      const { transport, servers } = await this.#transport(options.signal);
      try {
        return (await transport.request(name, input, options)) as never;
      } catch (error) {
        if (mayPass(error)) this.#turn += 1;
        const isUnsent = error instanceof SgwError && error.details['neverSent'] === true;
        if (!isUnsent || tries >= servers) throw error;
      }
    }
  }

  async #transport(signal: AbortSignal): Promise<{ readonly transport: RemoteTransport; readonly servers: number }> {
    const { ca, certificate, privateKey, elsewhere } = await gatewayTls(this.#parts, signal);
    const urls = [this.#service.gatewayUrl, ...elsewhere.map(urlOf)];
    const url = urls[this.#turn % urls.length] ?? this.#service.gatewayUrl;
    if (this.#open?.certificate !== certificate || this.#open.url !== url) {
      await this[Symbol.asyncDispose]();
      const transport = reachService(this.#parts, { url, ca }, { certificate, privateKey });
      this.#open = { certificate, url, transport };
    }
    return { transport: await this.#open.transport, servers: urls.length };
  }
}

const urlOf = ({ host, port }: { readonly host: string; readonly port: number }): string =>
  `https://${host.includes(':') ? `[${host}]` : host}:${String(port)}`;

function notHere(name: MessageName, url: string): SgwError {
  const what = name.replace('.', ' ');
  return new SgwError(
    'unsupported',
    'service-elsewhere',
    `${what} is for the service at ${url}, not for a gateway of it`,
    {
      hint: `A gateway acts for its own account. Ask the service with an access key: --service ${url}`,
      details: { url },
    },
  );
}
