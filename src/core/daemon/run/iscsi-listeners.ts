/** The iSCSI server of a gateway, with portals where the settings say. It is loaded when something is to be served over it. */
import type { ConnectedClient, IscsiTargets } from '../../gateway/index.ts';
import type { IscsiServer } from '../../iscsi/index.ts';
import type { Clock, Logger } from '../../kit/index.ts';
import { Places, tcpAddress } from './places.ts';

interface Running {
  readonly server: IscsiServer;
  readonly places: Places;
}

export class IscsiListeners {
  readonly #targets: IscsiTargets;
  readonly #clock: Clock;
  readonly #log: Logger;
  #running: Promise<Running> | undefined;
  #known: Running | undefined;
  /** One change after the other. */
  #applying: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(targets: IscsiTargets, clock: Clock, log: Logger) {
    this.#targets = targets;
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * Has portals where the settings say, and nowhere else. Returns whether anything changed; initiators that are logged in stay.
   * @throws unavailable `address-in-use`; denied; invalid
   */
  async apply(): Promise<boolean> {
    const applied = this.#applying.then(async () => this.#apply());
    this.#applying = applied.catch(() => undefined);
    return await applied;
  }

  async #apply(): Promise<boolean> {
    const { listen } = this.#targets.portals;
    if (this.#isClosed || (listen.length === 0 && this.#running === undefined)) return false;
    this.#running ??= this.#load();
    this.#known = await this.#running;
    return await this.#known.places.apply(listen.map(tcpAddress));
  }

  async #load(): Promise<Running> {
    const { IscsiServer: Server } = await import('../../iscsi/index.ts');
    const server = new Server({
      directory: this.#targets,
      clock: this.#clock,
      portals: () => this.#targets.portals.told,
      onClientFault: ({ id, remote, initiator, target }, reason) => {
        this.#log.warn({ connection: id, remote, initiator, target, reason }, 'an iSCSI initiator was let go');
      },
    });
    return { server, places: new Places(server) };
  }

  /** `HOST:PORT` of what initiators are told of. */
  get portals(): readonly string[] {
    const { told } = this.#targets.portals;
    return told.length > 0 ? told : (this.#known?.places.tcp ?? []);
  }

  async letGo(target: string): Promise<void> {
    await this.#known?.server.closeTarget(target);
  }

  /** Who is logged in to a target. */
  clientsOf(target: string): ConnectedClient[] {
    const sessions = this.#known?.server.sessions().filter((one) => one.target === target) ?? [];
    return sessions.map(({ initiator, user, sinceMs, commands, connections }) => ({
      protocol: 'iscsi',
      remotes: connections.map(({ remote }) => remote),
      initiator,
      user,
      sinceMs,
      requests: commands,
      receivedBytes: connections.reduce((sum, { receivedBytes }) => sum + receivedBytes, 0),
      sentBytes: connections.reduce((sum, { sentBytes }) => sum + sentBytes, 0),
    }));
  }

  async close(deadlineMs: number): Promise<void> {
    this.#isClosed = true;
    await this.#applying;
    await this.#known?.server.close({ deadlineMs });
  }
}
