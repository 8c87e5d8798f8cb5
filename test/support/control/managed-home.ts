/** A gateway that was activated at a service over the network, its daemon in this process, its store a directory of its own. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { createHandlers } from '../../../src/core/control/index.ts';
import { controlFrontEnds, openControlPlane } from '../../../src/core/daemon/service/control.ts';
import { partsOf } from '../../../src/core/daemon/parts.ts';
import { runGateway } from '../../../src/core/daemon/run/index.ts';
import { Gateway } from '../../../src/core/gateway/index.ts';
import { systemRandom } from '../../../src/core/kit/index.ts';
import type { CallContext, Handlers, Input, OperationName, Result } from '../../../src/core/localapi/index.ts';
import type { ControlPlane } from '../../../src/core/service/controlplane/index.ts';
import { ServiceKey } from '../../../src/core/service/server/index.ts';
import { RemoteGateway, ServiceClient, type AccessKey } from '../../../src/core/serviceclient/index.ts';
import { LiveService } from '../live-service.ts';
import { SILENT } from './network.ts';

const CALL: CallContext = { signal: new AbortController().signal, onProgress: () => undefined, lockTimeoutMs: 10_000 };

export interface Customer {
  readonly accountId: string;
  readonly accessKey: AccessKey;
}

/** A service with its control plane, as `sgw service run` composes it. */
export async function startManagedService(): Promise<{ readonly live: LiveService; readonly plane: ControlPlane }> {
  const late: { plane?: ControlPlane } = {};
  const live = await LiveService.start({
    frontEnds: ({ service, gatewayOf }) => controlFrontEnds(() => late.plane, service, gatewayOf),
  });
  const { service, ports } = live;
  const serviceKey = new ServiceKey(systemRandom.bytes(32), systemRandom);
  const gatewayAddress = `127.0.0.1:${String(ports.gateways)}`;
  late.plane = await openControlPlane({ service, serviceKey, nats: null, gatewayAddress, log: SILENT }, CALL.signal);
  return { live, plane: late.plane };
}

export class ManagedHome implements AsyncDisposable {
  readonly folder: string;
  #running: { readonly done: Promise<void>; readonly stop: AbortController } | undefined;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Activates a new home, for `customer`; over a store of its own, or over the data endpoint of the service. */
  static async activate(
    live: LiveService,
    customer: Customer,
    name: string,
    over: 'own' | 'service' = 'own',
  ): Promise<ManagedHome> {
    const made = new ManagedHome(await mkdtemp(path.join(os.tmpdir(), 'sgw-managed-')));
    const service = { url: live.url, fingerprint: live.fingerprint };
    await made.withHandlers(async (handlers) => {
      const store = over === 'own' ? { store: made.store } : {};
      const begun = await handlers['activation.begin']({ service, name, mode: 'cached', ...store }, CALL);
      const claim = { gatewayName: name, accountId: customer.accountId, mode: 'cached', region: 'lab-1' } as const;
      const more = { activationKey: begun.activationKey ?? '', gatewayId: null, confirm: true };
      await using client = clientOf(live, customer);
      await client.request('activation.claim', { ...claim, ...more }, CALL);
      await handlers['activation.await']({}, CALL);
      await handlers['activation.finish']({ accountId: customer.accountId }, CALL);
    });
    return made;
  }

  get home(): string {
    return path.join(this.folder, 'home');
  }

  get store(): string {
    return path.join(this.folder, 'store');
  }

  /** Runs operations as a command at the machine does, without the daemon. */
  async withHandlers<T>(work: (handlers: Handlers) => Promise<T>, home = this.home): Promise<T> {
    await using gateway = new Gateway(await partsOf(home));
    return await work(createHandlers(gateway));
  }

  /** Starts the daemon; resolves when it answers. */
  async start(): Promise<void> {
    const stop = new AbortController();
    const ready = Promise.withResolvers<undefined>();
    const done = runGateway({
      home: this.home,
      lockTimeoutMs: 5000,
      log: { level: 'info', sink: { write: () => undefined } },
      drainTimeoutMs: 5000,
      background: false,
      args: [],
      secrets: { unlock: async () => Promise.reject(new Error('no secret')) },
      signal: stop.signal,
      env: {},
      onLoaded: () => undefined,
      onReady: () => {
        ready.resolve(undefined);
      },
    }).catch((error: unknown) => {
      ready.reject(error);
      if (!stop.signal.aborted) throw error;
    });
    this.#running = { done, stop };
    await ready.promise;
  }

  /** Resolves when the daemon has ended by itself. */
  async ended(): Promise<void> {
    await this.#running?.done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#running?.stop.abort();
    await this.#running?.done.catch(() => undefined);
    await rm(this.folder, { recursive: true, force: true });
  }
}

function clientOf(live: LiveService, { accessKey }: Pick<Customer, 'accessKey'>): ServiceClient {
  return new ServiceClient({ place: { url: live.url, ca: live.service.authority.certificate }, accessKey });
}

/** Calls of one user to one gateway, through the service. */
export function remoteCalls(
  live: LiveService,
  customer: Pick<Customer, 'accessKey'>,
  gatewayId: string,
): {
  readonly call: <N extends OperationName>(
    name: N,
    input: Input<N>,
    context?: Partial<CallContext>,
  ) => Promise<Result<N>>;
} {
  const remote = new RemoteGateway(clientOf(live, customer), gatewayId);
  return { call: async (name, input, context) => remote.call(name, input, { ...CALL, ...context }) };
}
