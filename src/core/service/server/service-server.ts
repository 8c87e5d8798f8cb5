/**
 * A server of the service: its two listeners, and what is under way on them.
 *
 * Order of the end: new requests are refused and front ends let go of what they hold; requests under way are answered; what is
 * left at the deadline is cut. Another server over the same store takes up what a client then asks again.
 */
import type { FastifyRequest } from 'fastify';
import type { Clock, Logger } from '../../kit/index.ts';
import type { GatewayPrincipals } from '../identity/gateway-principals.ts';
import type { GatewayPrincipal } from '../identity/principal.ts';
import type { FrontEnd } from './front-end.ts';
import { Listener, type ListenerLimits, type ListenerOptions, type TlsSettings } from './listener.ts';
import type { ListenerName, ServerMetrics } from './metrics.ts';

export interface Place {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
}

export interface ServiceServerOptions {
  /** Made with `gatewayOf`, which tells who sent a request to the gateways' listener. */
  readonly frontEnds: (gatewayOf: (request: FastifyRequest) => GatewayPrincipal) => readonly FrontEnd[];
  readonly tls: Readonly<Record<ListenerName, TlsSettings>>;
  /** PEM. */
  readonly ca: string;
  readonly principals: GatewayPrincipals;
  /** @see ListenerOptions.isProved */
  readonly isProved: ListenerOptions['isProved'];
  readonly limits?: Partial<ListenerLimits>;
  readonly metrics: ServerMetrics;
  /** Whether the store answers now. */
  readonly isHealthy: () => Promise<boolean>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly log: Logger;
}

const LIMITS: ListenerLimits = {
  connectionsMax: 8192,
  connectionsOfAddressMax: 2048,
  refusals: { perSecond: 20, burst: 400 },
  // A machine room of 500 gateways may be activated at once from behind one address, each with some ten messages.
  unsigned: { perSecond: 50, burst: 6000 },
};

export class ServiceServer {
  readonly #options: ServiceServerOptions;
  readonly #frontEnds: readonly FrontEnd[];
  readonly #api: Listener;
  readonly #gateways: Listener;

  constructor(options: ServiceServerOptions) {
    this.#options = options;
    const { tls, ca, principals, isProved, metrics, isHealthy, clock, log } = options;
    this.#frontEnds = options.frontEnds((request) => this.#gateways.gatewayOf(request));
    const shared = { limits: { ...LIMITS, ...options.limits }, metrics, isProved, isHealthy, clock, log };
    const of = (name: ListenerName): readonly FrontEnd[] => this.#frontEnds.filter(({ listener }) => listener === name);
    this.#api = new Listener({ ...shared, name: 'api', tls: tls.api, frontEnds: of('api') });
    this.#gateways = new Listener({
      ...{ ...shared, name: 'gateways', tls: tls.gateways, frontEnds: of('gateways'), mutual: { ca, principals } },
    });
  }

  /** Resolves with the ports. @throws unavailable `address-in-use`; invalid `bad-listen`; then nothing listens */
  async listen(places: Readonly<Record<ListenerName, Place>>): Promise<Readonly<Record<ListenerName, number>>> {
    try {
      const gateways = await this.#gateways.listen(places.gateways.host, places.gateways.port);
      return { gateways, api: await this.#api.listen(places.api.host, places.api.port) };
    } catch (error) {
      await this.close(AbortSignal.abort());
      throw error;
    }
  }

  /** New certificates, for connections from now on. */
  renew(listener: ListenerName, tls: TlsSettings): void {
    (listener === 'api' ? this.#api : this.#gateways).renew(tls);
  }

  /** Ends, when what is under way is answered or `hurry` fires. Resolves with whether all of it was. Idempotent. */
  async close(hurry: AbortSignal): Promise<boolean> {
    let wasCut = false;
    const cut = (): void => {
      wasCut = true;
      this.#api.cut();
      this.#gateways.cut();
    };
    hurry.addEventListener('abort', cut, { once: true });
    const closing = Promise.all([this.#api.close(), this.#gateways.close(), this.#drainFrontEnds()]);
    if (hurry.aborted) cut();
    try {
      await closing;
    } finally {
      hurry.removeEventListener('abort', cut);
    }
    for (const frontEnd of this.#frontEnds) await frontEnd.close?.();
    return !wasCut;
  }

  async #drainFrontEnds(): Promise<void> {
    await Promise.all(
      this.#frontEnds.map(async (frontEnd) => {
        try {
          await frontEnd.drain?.();
        } catch (error) {
          this.#options.log.warn({ frontEnd: frontEnd.name, err: error }, 'a front end did not drain');
        }
      }),
    );
  }
}
