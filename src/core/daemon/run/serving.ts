/**
 * What the daemon serves to clients of its volumes, as its process sees it: begun after the local API's parts, ended before
 * them. Puts together the registry of exports, which room `gateway` keeps, and the servers that clients reach it by.
 */
import type { Gateway, Membership, Serving as Exports } from '../../gateway/index.ts';
import type { Clock, Logger, SgwError } from '../../kit/index.ts';
import type { CallContext, GatewayDocument } from '../../localapi/index.ts';
import { openState } from '../../state/index.ts';
import { IscsiListeners } from './iscsi-listeners.ts';
import { NbdListeners, type NbdPlaces } from './nbd-listeners.ts';
import { reportSchedule } from './schedule-report.ts';

/** How long requests under way may take once no more are taken. */
const CLIENTS_GRACE_MS = 5000;

export interface Drained {
  /** Whether all that was acknowledged is in the store. */
  readonly drained: boolean;
  /** What is only in the write logs of this home. */
  readonly dirtyBytes: number;
}

export interface Serving {
  /** Serves again what the state says was served. */
  start(): Promise<void>;
  /** Reads the configuration again; tells what is different, a sentence each. */
  reload(): Promise<readonly string[]>;
  /** Asks for the gateway's group, and goes in or out. @throws unavailable; what connecting to members throws */
  regroup(): Promise<void>;
  /**
   * Takes no more clients, brings what is not in the store there (with `drain`, until `signal` fires), and closes the volumes
   * with clean logs. Never fails for what could not be drained. Idempotent.
   */
  stop(options: {
    readonly drain: boolean;
    readonly signal: AbortSignal;
    readonly onProgress: (doneBytes: number, totalBytes: number) => void;
  }): Promise<Drained>;
  /** Has a volume ask the store whether it is held still. One that is not served is no matter. */
  checkHeld(volumeId: string, signal: AbortSignal): Promise<void>;
  show(): Pick<GatewayDocument, 'volumes' | 'cache' | 'exports'>;
  /** In the text format of Prometheus; empty when there is nothing to tell. */
  metrics(): Promise<string>;
}

export interface ServingOptions {
  readonly home: string;
  readonly gateway: Gateway;
  readonly clock: Clock;
  readonly log: Logger;
  /** With the secrets of an encrypted store. */
  readonly call: CallContext;
  /** Of the NBD socket, unless the settings name another. */
  readonly socketPath: string;
}

/** Serves the volumes of a gateway over NBD and iSCSI. */
export class VolumeServing implements Serving {
  readonly #options: ServingOptions;
  #exports: Exports | undefined;
  #listeners: NbdListeners | undefined;
  #iscsi: IscsiListeners | undefined;
  /** As the settings had it last. */
  #nbd: NbdPlaces | undefined;
  #membership: Membership | undefined;
  #schedules: { stop(): Promise<void>; metrics(): Promise<string> } | undefined;

  constructor(options: ServingOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { gateway, clock, log, call } = this.#options;
    const exports = await gateway.serve(call);
    this.#exports = exports;
    const onChange = (place: string, failure: SgwError | undefined): void => {
      this.#tellListening();
      if (failure === undefined) log.info({ place }, 'listens there now');
      else log.warn({ place, reason: failure.message }, 'can not listen there yet');
    };
    const listeners = new NbdListeners(exports, clock, log, onChange);
    this.#listeners = listeners;
    const iscsi = new IscsiListeners(exports.targets, clock, log, onChange);
    this.#iscsi = iscsi;
    const targetOf = (exportName: string): string | undefined => exports.named(exportName)?.record.iscsi?.targetName;
    exports.letGo = async ({ name }) => {
      const target = targetOf(name);
      await Promise.all([listeners.letGo(name), target === undefined ? undefined : iscsi.letGo(target)]);
    };
    exports.connected = (name) => {
      const target = targetOf(name);
      return [...listeners.clientsOf(name), ...(target === undefined ? [] : iscsi.clientsOf(target))];
    };
    exports.listenIscsi = async (mayWait = false) => {
      await this.#listenIscsi(mayWait);
      if (!mayWait) iscsi.requirePortal();
    };
    exports.listen = async () => [
      ...((await this.#listen(false)) ? ['NBD is served at other addresses, or with other keys.'] : []),
      ...((await this.#listenIscsi(false)) ? ['iSCSI is served at other addresses.'] : []),
    ];
    await this.#listen(true);
    await this.#listenIscsi(true);
    this.#schedules = await gateway.runSchedules((event) => {
      reportSchedule(log, event);
    }, call);
    this.#membership = await gateway.joinGroup({ log, exportsAt: () => this.#exportsAt() }, call);
  }

  /** Where clients find the exports now. */
  #exportsAt(): string[] {
    const { unix = null, tcp = [] } = this.#exports?.listening ?? {};
    return [...(unix === null ? [] : [`unix:${unix}`]), ...tcp];
  }

  async #listen(mayWait: boolean): Promise<boolean> {
    const listeners = this.#listeners;
    if (listeners === undefined) return false;
    const places = await this.#places();
    this.#nbd = places;
    try {
      return await listeners.apply(places, mayWait);
    } finally {
      this.#tellListening();
    }
  }

  async #listenIscsi(mayWait: boolean): Promise<boolean> {
    try {
      return (await this.#iscsi?.apply(mayWait)) ?? false;
    } finally {
      this.#tellListening();
    }
  }

  #tellListening(): void {
    const exports = this.#exports;
    const nbd = this.#nbd;
    if (exports === undefined || nbd === undefined) return;
    const { tcp = [], waiting = [] } = this.#listeners ?? {};
    const { portals = [], waiting: portalsWaiting = [] } = this.#iscsi ?? {};
    exports.listening = {
      ...{ unix: nbd.unix, tcp, tls: nbd.settings.tls, iscsi: portals },
      waiting: [
        ...waiting.map((one) => ({ ...one, protocol: 'nbd' as const })),
        ...portalsWaiting.map((one) => ({ ...one, protocol: 'iscsi' as const })),
      ],
    };
  }

  async #places(): Promise<NbdPlaces> {
    const { home, socketPath } = this.#options;
    const { gateway } = await openState(home);
    if (gateway === null) throw new Error('the home of a running gateway is activated');
    return { unix: gateway.serving.unixSocket ?? socketPath, settings: gateway.serving };
  }

  async regroup(): Promise<void> {
    await this.#membership?.look();
  }

  async reload(): Promise<readonly string[]> {
    const changes = (await this.#exports?.reload()) ?? [];
    await this.regroup();
    return changes;
  }

  async stop(options: Parameters<Serving['stop']>[0]): Promise<Drained> {
    await this.#schedules?.stop();
    if (options.drain) await this.#membership?.handOver(options.signal);
    await this.#membership?.stop();
    await Promise.all([this.#listeners?.close(CLIENTS_GRACE_MS), this.#iscsi?.close(CLIENTS_GRACE_MS)]);
    const report = await this.#exports?.stop(options);
    return report ?? { drained: true, dirtyBytes: 0 };
  }

  async checkHeld(volumeId: string, signal: AbortSignal): Promise<void> {
    await this.#exports?.ofVolume(volumeId)?.volume?.checkHeld(signal);
  }

  show(): Pick<GatewayDocument, 'volumes' | 'cache' | 'exports'> {
    const exports = this.#exports;
    const stats = exports?.cacheStats;
    return {
      exports: exports?.documents() ?? [],
      cache:
        stats === undefined
          ? null
          : {
              fileLimitBytes: stats.limits.fileBytes,
              fileUsedBytes: stats.fileUsedBytes,
              ramLimitBytes: stats.limits.ramBytes,
              ramUsedBytes: stats.ramUsedBytes,
              ramHits: stats.ramHits,
              fileHits: stats.fileHits,
              misses: stats.misses,
              damagedFrames: stats.damagedFrames,
            },
      volumes: (exports?.show() ?? []).flatMap(({ record, name, stats: served, clients }) => {
        if (served === null) return [];
        const { cacheHits, logHits, lastCommitMs, modelledCommits: _, ...figures } = served;
        return [
          {
            ...figures,
            logHits,
            cacheHits,
            volumeId: record.scratchVolumeId ?? record.volumeId ?? '',
            name: name ?? record.exportName,
            exportName: record.exportName,
            readOnly: record.readOnly,
            connections: clients,
            lastCommitAt: lastCommitMs === null ? null : new Date(lastCommitMs).toISOString(),
          },
        ];
      }),
    };
  }

  async metrics(): Promise<string> {
    const parts = await Promise.all([this.#exports?.metrics(), this.#schedules?.metrics()]);
    return parts.filter((text) => text !== undefined).join('\n');
  }
}
