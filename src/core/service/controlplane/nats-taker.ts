/**
 * Takes requests of other servers, and answers them.
 *
 * Invariants: a request is taken once, however often it comes; one that is older than `FRESH_MS` is not taken, and ids are
 * remembered for longer than that; who asked sees that it is worked on every few seconds.
 */
import type { Msg, NatsConnection } from '@nats-io/transport-node';
import { SgwError, toSgwError, type Clock } from '../../kit/index.ts';
import type { BusPeer } from './control-bus.ts';
import { ALIVE_MS } from './nats-request.ts';
import type { BusSeal, Reply, Sent } from './nats-wire.ts';

/** How far the clocks of two servers may be apart, with the time on the way. */
const FRESH_MS = 60_000;
const REMEMBERED_MS = 2 * FRESH_MS + 1000;
const REMEMBERED_MAX = 65_536;
/** Of one message, in UTF-16 code units: at most half a mebibyte of UTF-8 is left of NATS's one. */
const PIECE_LENGTH = 128 << 10;
/** That every NATS takes, unless it says otherwise. */
const REPLY_BYTES_MAX = 1 << 20;

interface TakerParts {
  readonly connection: NatsConnection;
  readonly seal: BusSeal;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly peer: BusPeer;
  readonly isUp: () => boolean;
}

export class RequestTaker {
  readonly #parts: TakerParts;
  readonly #running = new Map<string, AbortController>();
  /** Ids by when they may be forgotten, oldest first. */
  readonly #seen = new Map<string, number>();

  constructor(parts: TakerParts) {
    this.#parts = parts;
  }

  take(message: Msg): void {
    const sent = this.#parts.seal.open('sent', message.subject, message.data);
    if (sent === undefined) return;
    if (sent.t === 'cancel') {
      this.#running.get(sent.id)?.abort(new SgwError('aborted', 'caller-gone', 'nobody waits for the answer any more'));
    } else if (message.reply !== undefined && message.reply !== '' && this.#isNew(sent)) {
      void this.#answer(sent, message.reply);
    }
  }

  stop(): void {
    for (const running of this.#running.values())
      running.abort(new SgwError('unavailable', 'service-draining', 'this server of the service is stopping'));
  }

  #isNew({ id, sentAtMs }: Extract<Sent, { t: 'request' }>): boolean {
    const nowMs = this.#parts.clock.nowMs();
    for (const [old, untilMs] of this.#seen) {
      if (untilMs > nowMs) break;
      this.#seen.delete(old);
    }
    if (Math.abs(nowMs - sentAtMs) > FRESH_MS || this.#seen.has(id) || this.#seen.size >= REMEMBERED_MAX) return false;
    this.#seen.set(id, nowMs + REMEMBERED_MS);
    return true;
  }

  async #answer({ id, body }: Extract<Sent, { t: 'request' }>, inbox: string): Promise<void> {
    const stop = new AbortController();
    this.#running.set(id, stop);
    const reply = (message: Reply): void => {
      this.#reply(inbox, message);
    };
    reply({ t: 'alive' });
    const alive = setInterval(() => {
      reply({ t: 'alive' });
    }, ALIVE_MS);
    try {
      const onPart = (part: unknown): void => {
        reply({ t: 'part', part });
      };
      this.#result(reply, await this.#parts.peer.onRequest(body, { signal: stop.signal, onPart }));
    } catch (error) {
      reply({ t: 'error', error: toSgwError(error).toDocument() });
    } finally {
      clearInterval(alive);
      this.#running.delete(id);
    }
  }

  #result(reply: (message: Reply) => void, answer: unknown): void {
    const text = JSON.stringify(answer ?? null);
    if (text.length <= PIECE_LENGTH) {
      reply({ t: 'answer', answer });
      return;
    }
    for (let at = 0; at < text.length; at += PIECE_LENGTH)
      reply({ t: 'piece', text: text.slice(at, at + PIECE_LENGTH) });
    reply({ t: 'answer' });
  }

  /**
   * Never fails. While NATS is out of reach nothing is kept for it: who asked counts this server as gone. What a gateway says
   * may be longer than NATS takes, as JSON may grow when it is written again: then who asked is told that, or not of progress.
   */
  #reply(inbox: string, message: Reply): void {
    const { connection, seal, isUp } = this.#parts;
    if (!isUp() || connection.isClosed()) return;
    const sealed = seal.seal('reply', inbox, message);
    if (sealed.length <= (connection.info?.max_payload ?? REPLY_BYTES_MAX)) connection.publish(inbox, sealed);
    else if (message.t !== 'part') connection.publish(inbox, seal.seal('reply', inbox, TOO_LONG));
  }
}

const TOO_LONG: Reply = {
  t: 'error',
  error: new SgwError('exhausted', 'answer-too-long', 'what the gateway answers is longer than the service takes', {
    hint: 'Ask for less, or ask on its machine.',
  }).toDocument(),
};
