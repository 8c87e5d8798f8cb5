/**
 * A running gateway as its local API and its signals see it: what it tells of itself, how it ends.
 *
 * States: serving -> stopping -> stopped. Invariants: it stops once, however often it is asked; who asks again, without
 * draining, cuts the draining short; the end is told by `stopped`, and the composition root closes the rest after it.
 */
import type { GatewayProcess } from '../../control/index.ts';
import type { LocalServer } from '../../control/server/index.ts';
import { notActivated } from '../../gateway/index.ts';
import { interfacesOf, localDisks } from '../../gateway/machine/index.ts';
import { SgwError, type Clock, type Logger } from '../../kit/index.ts';
import type {
  CallContext,
  ControlConnectionDocument,
  GatewayDocument,
  GatewayLogsDocument,
  GatewayMetricsDocument,
  GatewayReloadDocument,
  GatewayStopDocument,
  Input,
  StatusDocument,
} from '../../localapi/index.ts';
import { openState } from '../../state/index.ts';
import type { LogTail } from './log-tail.ts';
import type { Serving } from './serving.ts';

/** How long calls that were told to stop may take to end. */
const CALLS_GRACE_MS = 5000;

export interface ProcessParts {
  readonly home: string;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly serving: Serving;
  readonly background: boolean;
  readonly startedMs: number;
  /** For a stop that names no other. */
  readonly drainTimeoutMs: number;
  readonly tail: Pick<LogTail, 'read'>;
}

/** What is known once it listens. */
export interface Endpoints {
  readonly server: LocalServer;
  readonly socket: string;
  readonly metricsUrl: string | null;
  /** How the service is connected that manages the gateway; undefined where there is none. */
  readonly connection: () => Promise<ControlConnectionDocument | undefined>;
}

type Watch = CallContext['onProgress'];

export class RunningProcess implements GatewayProcess {
  readonly #parts: ProcessParts;
  #endpoints: Endpoints | undefined;
  #stopping: Promise<GatewayStopDocument> | undefined;
  readonly #hurry = new AbortController();
  /** Those who watch the draining. */
  readonly #watches = new Set<Watch>();
  readonly #ended = Promise.withResolvers<undefined>();
  /** Resolves when nothing is served any more. */
  readonly stopped: Promise<undefined> = this.#ended.promise;

  constructor(parts: ProcessParts) {
    this.#parts = parts;
  }

  /** Tells where it is reached. */
  reachedAt(endpoints: Endpoints): void {
    this.#endpoints = endpoints;
  }

  async show(): Promise<GatewayDocument> {
    const { home, version, clock, serving, background, startedMs } = this.#parts;
    const { gateway } = await openState(home);
    if (gateway === null) throw notActivated(home);
    const connection = await this.#endpoints?.connection();
    const { rss, heapUsed } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    return {
      gatewayId: gateway.gatewayId,
      name: gateway.name,
      mode: gateway.mode,
      version,
      home,
      state: this.#stopping !== undefined ? 'stopping' : gateway.suspended === true ? 'suspended' : 'serving',
      pid: process.pid,
      startedAt: new Date(startedMs).toISOString(),
      uptimeMs: Math.max(0, Math.round(clock.nowMs() - startedMs)),
      socket: this.#endpoints?.socket ?? '',
      metricsUrl: this.#endpoints?.metricsUrl ?? null,
      background,
      calls: Math.max(0, (this.#endpoints?.server.callsUnderWay ?? 1) - 1),
      memory: { residentBytes: rss, heapBytes: heapUsed },
      cpuMs: Math.round((user + system) / 1000),
      ...(connection === undefined ? {} : { connection }),
      ...serving.show(),
      networkInterfaces: interfacesOf(),
      disks: await localDisks(home, gateway),
    };
  }

  async logs(input: Input<'gateway.logs'>): Promise<GatewayLogsDocument> {
    return Promise.resolve(this.#parts.tail.read(input));
  }

  async metrics(): Promise<GatewayMetricsDocument> {
    return { text: await this.#parts.serving.metrics() };
  }

  /** With how the service is connected, which only this process knows. */
  async withConnection(status: StatusDocument): Promise<StatusDocument> {
    const connection = await this.#endpoints?.connection();
    if (connection === undefined || status.service === undefined) return status;
    return { ...status, service: { ...status.service, connection } };
  }

  async stop(input: Input<'gateway.stop'>, call?: Pick<CallContext, 'onProgress'>): Promise<GatewayStopDocument> {
    const watch = call?.onProgress;
    if (watch !== undefined) this.#watches.add(watch);
    if (input.drain === false) this.#hurry.abort();
    this.#stopping ??= this.#stopOnce(input.timeoutMs ?? this.#parts.drainTimeoutMs);
    try {
      return await this.#stopping;
    } finally {
      if (watch !== undefined) this.#watches.delete(watch);
    }
  }

  async reload(): Promise<GatewayReloadDocument> {
    const changes = [...(await this.#parts.serving.reload())];
    this.#parts.log.info({ changes }, 'read the configuration again');
    return { pid: process.pid, changes };
  }

  async #stopOnce(timeoutMs: number): Promise<GatewayStopDocument> {
    const { clock, log, serving } = this.#parts;
    const startedMs = clock.monotonicMs();
    const drain = !this.#hurry.signal.aborted;
    log.info({ drain, timeoutMs }, 'stopping');
    const reason = stopping();
    this.#endpoints?.server.refuse(reason);
    const deadline = setTimeout(() => {
      this.#hurry.abort();
    }, timeoutMs);
    try {
      const { drained, dirtyBytes } = await serving.stop({
        drain,
        signal: this.#hurry.signal,
        onProgress: (doneBytes, totalBytes) => {
          for (const watch of this.#watches) watch({ label: 'draining', doneBytes, totalBytes });
        },
      });
      await this.#endpoints?.server.stopCalls(reason, CALLS_GRACE_MS);
      const durationMs = Math.round(clock.monotonicMs() - startedMs);
      log.info({ drained, dirtyBytes, durationMs }, 'stopped serving');
      return { stopped: true, pid: process.pid, drained, dirtyBytes, durationMs };
    } finally {
      clearTimeout(deadline);
      this.#ended.resolve(undefined);
    }
  }
}

const stopping = (): SgwError =>
  new SgwError('unavailable', 'gateway-stopping', 'the gateway daemon is stopping', {
    hint: 'Run the same command again when it is gone; an import or export goes on where it was.',
  });
