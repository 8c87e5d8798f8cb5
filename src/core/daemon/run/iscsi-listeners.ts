/** The iSCSI server of a gateway, with portals where the settings say. It is loaded when something is to be served over it. */
import type { ConnectedClient, IscsiTargets } from '../../gateway/index.ts';
import type { IscsiServer } from '../../iscsi/index.ts';
import type { Clock, Logger } from '../../kit/index.ts';
import { tcpAddress } from '../../sockets/index.ts';
import { Places, type PlacesParts, type WaitingPlace } from './places.ts';

interface Running {
  readonly server: IscsiServer;
  readonly places: Places;
}

export class IscsiListeners {
  readonly #targets: IscsiTargets;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onChange: PlacesParts['onChange'];
  #running: Promise<Running> | undefined;
  #known: Running | undefined;
  /** One change after the other. */
  #applying: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(targets: IscsiTargets, clock: Clock, log: Logger, onChange: PlacesParts['onChange']) {
    this.#targets = targets;
    this.#clock = clock;
    this.#log = log;
    this.#onChange = onChange;
  }

  /**
   * Has portals where the settings say, and nowhere else. Returns whether anything changed; initiators that are logged in stay. What
   * can't be had is waited for with `mayWait`.
   * @throws what `Places.apply` throws
   */
  async apply(mayWait: boolean): Promise<boolean> {
    const applied = this.#applying.then(async () => this.#apply(mayWait));
    this.#applying = applied.catch(() => undefined);
    return await applied;
  }

  async #apply(mayWait: boolean): Promise<boolean> {
    const { listen } = this.#targets.portals;
    if (this.#isClosed || (listen.length === 0 && this.#running === undefined)) return false;
    this.#running ??= this.#load();
    this.#known = await this.#running;
    return await this.#known.places.apply(listen.map(tcpAddress), { mayWait });
  }

  /** Makes sure that initiators can come. @throws why they can't, when no portal could be had */
  requirePortal(): void {
    const [first] = this.waiting;
    if (first !== undefined && this.#known?.places.tcp.length === 0) throw first.failure;
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
    return { server, places: new Places(server, { clock: this.#clock, onChange: this.#onChange }) };
  }

  /** `HOST:PORT` of what initiators are told of. */
  get portals(): readonly string[] {
    const { told } = this.#targets.portals;
    return told.length > 0 ? told : (this.#known?.places.tcp ?? []);
  }

  /** Portals that could not be had yet. */
  get waiting(): WaitingPlace[] {
    return this.#known?.places.waiting ?? [];
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
    await this.#known?.places.close();
    await this.#known?.server.close({ deadlineMs });
  }
}
