/**
 * Front end `dataendpoint`, of the gateways' listener: the store contract over HTTP, for each gateway what is its account's
 * (docs/formats/data-endpoint.md). The listener lets each client send as much before it is read as `SERVER_WINDOWS` says.
 */
import type { FastifyRequest } from 'fastify';
import type { GatewayPrincipal } from '../identity/principal.ts';
import type { FrontEnd, ServerParts } from '../server/front-end.ts';
import { AccountStore } from './account-store.ts';
import { Budget, DEFAULT_LIMITS, type BudgetLimits } from './budget.ts';
import type { OnFenced } from './events.ts';
import { addRoutes } from './routes.ts';
import { Tenancy } from './tenancy.ts';

export interface DataEndpointOptions {
  readonly parts: Pick<ServerParts, 'context' | 'log' | 'exports' | 'quotas'>;
  /** Who sent a request, by its certificate. @throws denied, also for a gateway that was deregistered */
  readonly principalOf: (request: FastifyRequest) => Promise<GatewayPrincipal> | GatewayPrincipal;
  /** Told of each volume that was taken over from a gateway, once that is durable. Must not throw. */
  readonly onFenced: OnFenced;
  readonly limits?: Partial<BudgetLimits>;
}

export function dataEndpoint(options: DataEndpointOptions): FrontEnd {
  const { parts, principalOf, onFenced } = options;
  const { context, exports, quotas, log } = parts;
  const tenancy = new Tenancy({ context, exports, quotas, onFenced });
  const budget = new Budget({ ...DEFAULT_LIMITS, ...options.limits });
  return {
    name: 'dataendpoint',
    listener: 'gateways',
    add: (app) => {
      addRoutes(app, {
        budget,
        clock: context.blocks.clock,
        log,
        serve: async (request) => {
          const gateway = await principalOf(request);
          const take = async (bytes: number, signal: AbortSignal): Promise<() => void> =>
            await budget.take(gateway, bytes, signal);
          return { store: new AccountStore(tenancy, gateway, take), asker: gateway };
        },
      });
    },
    close: async () => {
      tenancy.close();
      return Promise.resolve();
    },
  };
}
