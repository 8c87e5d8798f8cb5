/** Ways to the service on which the process that uses them dies: before a message is sent, or after it was answered. */
import type { ServiceConnections, ServiceTransport } from '../../../src/core/protocol/index.ts';

class Death extends Error {}

export interface DyingOptions {
  /** The message at which it dies, counted from 0. */
  readonly at: number;
  readonly when: 'before' | 'after';
  /** Runs instead of dying. */
  readonly instead?: () => Promise<void>;
}

/** Tells how many messages went through as well. */
export function dying(options: DyingOptions): {
  between: (connections: ServiceConnections) => ServiceConnections;
  sent: () => number;
} {
  let count = 0;
  const die = async (): Promise<void> => {
    if (options.instead === undefined) throw new Death('the process died');
    await options.instead();
  };
  const wrap = (transport: ServiceTransport): ServiceTransport => ({
    request: async (name, input, how) => {
      const isLast = count++ === options.at;
      if (isLast && options.when === 'before') await die();
      const answer = await transport.request(name, input, how);
      if (isLast && options.when === 'after') await die();
      return answer;
    },
  });
  return {
    between: ({ serviceId, gateway, operator }) => ({ serviceId, gateway: wrap(gateway), operator: wrap(operator) }),
    sent: () => count,
  };
}
