/**
 * A control server as a process of its own, for the soak of the control plane: it listens for gateways with real TLS, shares NATS
 * with the others, and makes the calls that its parent asks for.
 */
import { readFileSync } from 'node:fs';
import { toSgwError, systemClock } from '../../../src/core/kit/index.ts';
import { NatsBus, newServerId } from '../../../src/core/service/controlplane/index.ts';
import type { GatewayRecord } from '../../../src/core/service/identity/gateways.ts';
import { LoopLag } from '../../support/control/loop-lag.ts';
import { serveAs, SILENT } from '../../support/control/network.ts';

/** What the parent writes into a file. */
export interface ServerPlan {
  readonly nats: string;
  /** 32 bytes, hex. */
  readonly busKey: string;
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly records: readonly GatewayRecord[];
}

/** From the parent. */
export type ToServer =
  | {
      readonly kind: 'call';
      readonly id: number;
      readonly gatewayId: string;
      readonly accountId: string;
      readonly input: object;
      readonly deadlineMs: number;
    }
  | { readonly kind: 'figures'; readonly id: number }
  | { readonly kind: 'drain' };

/** To the parent. */
export type FromServer =
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'answer';
      readonly id: number;
      readonly code: string;
      readonly result: unknown;
      readonly durationMs: number;
      /** For how long the process came too late to what it was to do, lately. */
      readonly lateMs: number;
    }
  | {
      readonly kind: 'figures';
      readonly id: number;
      readonly connections: number;
      readonly rssBytes: number;
      readonly heapBytes: number;
    };

const [, , planFile = '', port = '0'] = process.argv;
const { nats, busKey, records, ...tls } = JSON.parse(readFileSync(planFile, 'utf8')) as ServerPlan;
const lag = new LoopLag();
const tell = (message: FromServer): void => {
  process.send?.(message);
};
const server = await serveAs(
  { ...tls, records: new Map(records.map((record) => [record.gatewayId, record])) },
  {
    port: Number(port),
    bus: (address) =>
      new NatsBus({
        ...{ url: nats, serverId: newServerId(), address, space: 'soak', key: Buffer.from(busKey, 'hex') },
        ...{ clock: systemClock, log: SILENT },
      }),
  },
);
process.on('message', (message: ToServer) => {
  void take(message);
});
process.once('disconnect', () => {
  process.exit(0);
});
tell({ kind: 'ready' });

async function take(message: ToServer): Promise<void> {
  if (message.kind === 'drain') {
    await server.plane.close();
    process.exit(0);
  }
  const { id } = message;
  if (message.kind === 'figures') {
    // Counted is what is held, not what nobody needs any more.
    (globalThis as { gc?: () => void }).gc?.();
    const { rss: rssBytes, heapUsed, external } = process.memoryUsage();
    tell({ kind: 'figures', id, connections: server.plane.connections, rssBytes, heapBytes: heapUsed + external });
    return;
  }
  const { gatewayId, accountId, input, deadlineMs } = message;
  const startedMs = performance.now();
  const { signal } = new AbortController();
  const outcome = await server.plane
    .call(gatewayId, 'volume.show', input as { volume: string }, { accountId, deadlineMs, signal })
    .then(
      (result: unknown) => ({ code: 'ok', result }),
      (error: unknown) => ({ code: toSgwError(error).code, result: null }),
    );
  tell({ kind: 'answer', id, ...outcome, durationMs: performance.now() - startedMs, lateMs: lag.lateMs });
}
