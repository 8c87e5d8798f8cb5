/**
 * How control servers find each other's gateways: the registration service, and the way between peers (DESIGN section 9).
 * In memory for one server, over NATS for many.
 */

/** Who holds a gateway's connection. */
export interface Registration {
  readonly gatewayId: string;
  readonly serverId: string;
  /** Of the connection: greater than that of every earlier connection of the gateway. */
  readonly epoch: number;
}

/** What a server does for its peers. */
export interface BusPeer {
  /**
   * Answers a request of another server. `onPart` sends something before the answer. What it throws arrives as an SgwError
   * with the same kind, code, message, hint and details.
   */
  readonly onRequest: (
    body: unknown,
    how: { readonly signal: AbortSignal; readonly onPart: (part: unknown) => void },
  ) => Promise<unknown>;
  /** Hears what a peer told all; its own too. */
  readonly onNotice: (notice: BusNotice) => void;
  /** The registrations that it holds, which the bus restores when the registration service forgot them. */
  readonly held: () => readonly Registration[];
}

/** What all servers are told. */
export type BusNotice =
  /** A newer connection is there: older ones are to be ended. */
  | { readonly kind: 'registered'; readonly registration: Registration }
  /** The gateway has left the service: its connection is to be ended, whoever holds it. */
  | { readonly kind: 'deregistered'; readonly gatewayId: string };

export interface RequestHow {
  /** For the whole, milliseconds. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  readonly onPart: (part: unknown) => void;
}

export interface ControlBus {
  /** Of this server: unique among all that ever were. */
  readonly serverId: string;
  /** Begins to answer peers. Once, before anything else. @throws unavailable `control-bus-unavailable` */
  join(peer: BusPeer, signal: AbortSignal): Promise<void>;
  /**
   * Registers a connection that this server holds, with an epoch above every earlier one, and tells all of it.
   * @throws unavailable `control-bus-unavailable`
   */
  register(gatewayId: string, signal: AbortSignal): Promise<Registration>;
  /** Takes a registration away unless a newer one is there. Never fails: what stays is stale, and found to be. */
  deregister(registration: Registration): Promise<void>;
  /** The newest registration as far as it is known; it may be stale. @throws unavailable `control-bus-unavailable` */
  lookup(gatewayId: string, signal: AbortSignal): Promise<Registration | undefined>;
  /** Asks all peers who holds the gateway's connection; the first that does answers. @throws unavailable `control-bus-unavailable` */
  find(gatewayId: string, signal: AbortSignal): Promise<Registration | undefined>;
  /**
   * Sends a request to a server, and waits for its answer. It is delivered at most once. The peer's own failure arrives as it is.
   * @throws unavailable `control-server-gone` when nobody took it, or who took it is gone (`details.taken` tells which);
   * timeout `gateway-timed-out`; unavailable `control-bus-unavailable`
   */
  request(serverId: string, body: unknown, how: RequestHow): Promise<unknown>;
  /** Tells all servers, this one too. Best effort: what must not be missed is asked again. */
  notify(notice: BusNotice): void;
  /** Addresses for gateways of the servers that are there now, this one's too. */
  servers(signal: AbortSignal): Promise<readonly string[]>;
  /** Leaves: takes nothing more, and takes its registrations away. Idempotent. */
  close(): Promise<void>;
}
