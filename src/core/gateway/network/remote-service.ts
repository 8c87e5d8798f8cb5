/** The service as a gateway has it that was activated over the network. */
import { SgwError } from '../../kit/index.ts';
import type { MessageName, ServiceConnections } from '../../protocol/index.ts';
import type { RemoteServiceState } from '../../state/index.ts';
import type { GatewayParts } from '../parts.ts';
import { gatewayTls } from './identity.ts';
import { reachService, type RemoteTransport } from './reach.ts';

type Parts = Pick<GatewayParts, 'home' | 'clock' | 'random' | 'reachService'>;

/**
 * The service of a gateway that was activated over the network: by mutual TLS, with the certificate of now. What only an
 * operator of the service may say is refused here.
 */
export class RemoteService implements AsyncDisposable {
  readonly #parts: Parts;
  readonly #service: RemoteServiceState;
  #open: { readonly certificate: string; readonly transport: Promise<RemoteTransport> } | undefined;

  constructor(parts: Parts, service: RemoteServiceState) {
    this.#parts = parts;
    this.#service = service;
  }

  get connections(): ServiceConnections {
    return {
      serviceId: this.#service.serviceId,
      gateway: {
        request: async (name, input, options) => (await this.#transport(options.signal)).request(name, input, options),
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

  async #transport(signal: AbortSignal): Promise<RemoteTransport> {
    const { ca, certificate, privateKey } = await gatewayTls(this.#parts, signal);
    if (this.#open?.certificate !== certificate) {
      await this[Symbol.asyncDispose]();
      const place = { url: this.#service.gatewayUrl, ca };
      this.#open = { certificate, transport: reachService(this.#parts, place, { certificate, privateKey }) };
    }
    return await this.#open.transport;
  }
}

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
