/**
 * The connections between members of the simulation: messages arrive in order, after some time, until the connection ends. A
 * direction that is cut holds what is sent back, as TCP does, until it is mended or the connection is given up, which its two ends
 * notice at different times.
 */
import { SgwError } from '../../../src/core/kit/index.ts';
import type { PeerEvents, PeerLink, PeerMessage, PeerNetwork } from '../../../src/core/replication/messages.ts';
import type { GroupMember } from '../../../src/core/protocol/index.ts';
import type { Choices } from '../random.ts';
import type { Process, World } from '../world.ts';

const REDIAL_MS = 300;

interface Node {
  readonly id: string;
  readonly process: Process;
  readonly events: PeerEvents;
  members: ReadonlySet<string>;
}

class End implements PeerLink {
  readonly gatewayId: string;
  readonly waitingBytes = 0;
  readonly node: Node;
  /** Sent, and not there yet. */
  readonly way: PeerMessage[] = [];
  other!: End;
  isEnded = false;
  isMoving = false;
  readonly #network: SimNetwork;

  constructor(network: SimNetwork, node: Node, gatewayId: string) {
    this.#network = network;
    this.node = node;
    this.gatewayId = gatewayId;
  }

  send(message: PeerMessage): void {
    if (this.isEnded || !this.node.process.alive) return;
    this.way.push(message);
    this.#network.move(this);
  }

  async drained(): Promise<void> {
    await Promise.resolve();
  }

  close(): void {
    this.#network.end(this);
  }
}

export class SimNetwork {
  readonly #world: World;
  readonly #choices: Choices;
  readonly #nodes = new Map<string, Node>();
  readonly #links = new Map<string, readonly [End, End]>();
  readonly #cuts = new Set<string>();
  /** The longest that a message takes. */
  delayMsMax = 8;

  constructor(world: World, choices: Choices) {
    this.#world = world;
    this.#choices = choices;
  }

  /** Of one process of a member. */
  of(id: string, process: Process): PeerNetwork {
    let node: Node | undefined;
    return {
      start: async (events) => {
        node = { id, process, events, members: new Set() };
        this.#nodes.set(id, node);
        return Promise.resolve({ address: `${id}:1` });
      },
      setMembers: (members: readonly GroupMember[]) => {
        if (node === undefined) return;
        node.members = new Set(members.map(({ gatewayId }) => gatewayId));
        for (const other of this.#nodes.keys()) if (other !== id) this.#dialLater(id, other);
      },
      stop: async () => {
        this.died(id);
        return Promise.resolve();
      },
    };
  }

  #key(a: string, b: string): string {
    return [a, b].sort().join(' ');
  }

  #dialLater(a: string, b: string): void {
    this.#world.later(this.#choices.integer(5, REDIAL_MS), 'dial', () => {
      const [one, other] = [this.#nodes.get(a), this.#nodes.get(b)];
      if (one === undefined || other === undefined || this.#links.has(this.#key(a, b))) return;
      if (!one.process.alive || !other.process.alive) return;
      if (this.#isCut(a, b) || this.#isCut(b, a)) {
        this.#dialLater(a, b);
        return;
      }
      this.#link(one, other);
    });
  }

  #link(one: Node, other: Node): void {
    const ends = [new End(this, one, other.id), new End(this, other, one.id)] as const;
    ends[0].other = ends[1];
    ends[1].other = ends[0];
    this.#links.set(this.#key(one.id, other.id), ends);
    for (const end of ends) {
      // What comes over it waits until its end is known.
      end.other.isMoving = true;
      void this.#in(end.node, () => {
        if (!end.isEnded) end.node.events.linked(end);
        end.other.isMoving = false;
        this.move(end.other);
      });
    }
  }

  /** Something that happens in a process: when that runs. */
  async #in(node: Node, work: () => void, delayMs = this.#choices.integer(0, this.delayMsMax)): Promise<void> {
    await this.#world.sleep(node.process, delayMs);
    work();
  }

  #isCut(from: string, to: string): boolean {
    return this.#cuts.has(`${from}>${to}`);
  }

  /** Brings what was sent over, one after the other. */
  move(from: End): void {
    if (from.isMoving || from.way.length === 0 || from.isEnded || this.#isCut(from.node.id, from.gatewayId)) return;
    from.isMoving = true;
    void this.#in(from.other.node, () => {
      from.isMoving = false;
      if (this.#isCut(from.node.id, from.gatewayId)) return;
      // What arrives together is taken together.
      for (let left = this.#choices.integer(1, 8); left > 0; left--) {
        const message = from.other.isEnded ? undefined : from.way.shift();
        if (message === undefined) break;
        from.other.node.events.message(from.other, message);
      }
      this.move(from);
    });
  }

  /** The end says so; the other hears of it soon, or when it has waited for long enough. */
  end(end: End): void {
    if (end.isEnded) return;
    const reason = new SgwError('unavailable', 'member-lost', 'the connection ended');
    this.#links.delete(this.#key(end.node.id, end.gatewayId));
    end.isEnded = true;
    if (end.node.process.alive && this.#nodes.get(end.node.id) === end.node) end.node.events.unlinked(end, reason);
    const { other } = end;
    // What is on its way may arrive before.
    void this.#in(
      other.node,
      () => {
        if (other.isEnded) return;
        other.isEnded = true;
        other.node.events.unlinked(other, reason);
      },
      this.#isCut(end.node.id, end.gatewayId) ? this.#choices.integer(1000, 6000) : this.#choices.integer(1, 60),
    );
    this.#dialLater(end.node.id, end.gatewayId);
  }

  /** A process has ended. */
  died(id: string): void {
    const node = this.#nodes.get(id);
    this.#nodes.delete(id);
    for (const ends of [...this.#links.values()]) {
      const end = ends.find((one) => one.node === node);
      if (end !== undefined) this.end(end);
    }
  }

  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`);
    this.#world.later(this.#choices.integer(1000, 6000), 'silence', () => {
      if (!this.#isCut(from, to)) return;
      const end = this.#links.get(this.#key(from, to))?.[this.#choices.integer(0, 1)];
      if (end !== undefined) this.end(end);
    });
  }

  /** Ends the connection of two, which is made again. */
  breakLink(a: string, b: string): void {
    const [end] = this.#links.get(this.#key(a, b)) ?? [];
    if (end !== undefined) this.end(end);
  }

  mend(): void {
    this.#cuts.clear();
    for (const ends of this.#links.values()) for (const end of ends) this.move(end);
  }
}
