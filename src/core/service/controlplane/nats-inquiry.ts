/** Asking all servers who holds a gateway's connection: what is done when the registration is stale or missing. */
import { createInbox, type NatsConnection } from '@nats-io/transport-node';
import { abortReason } from '../../kit/index.ts';
import type { Registration } from './control-bus.ts';
import { busUnavailable } from './failures.ts';
import type { BusSeal } from './nats-wire.ts';

/** One that is there answers in milliseconds. */
const WAIT_MS = 1000;

export class NatsInquiry {
  readonly #connection: NatsConnection;
  readonly #seal: BusSeal;
  readonly #subject: string;

  constructor(connection: NatsConnection, seal: BusSeal, subject: string) {
    this.#connection = connection;
    this.#seal = seal;
    this.#subject = subject;
  }

  /** Answers for a server from now on. */
  answer(serverId: string, held: (gatewayId: string) => Registration | undefined): void {
    const connection = this.#connection;
    connection.subscribe(this.#subject, {
      callback: (error, message) => {
        const { reply = '' } = message;
        const question = error === null && this.#seal.open('question', message.subject, message.data);
        if (question === false || question === undefined || reply === '') return;
        const registration = held(question.gatewayId) ?? null;
        connection.publish(reply, this.#seal.seal('holding', reply, { serverId, registration }));
      },
    });
  }

  /** The first that has it; undefined when all of `servers` answered that they have not, or after `WAIT_MS`. */
  async ask(gatewayId: string, servers: ReadonlySet<string>, signal: AbortSignal): Promise<Registration | undefined> {
    const inbox = createInbox();
    const { promise, resolve, reject } = Promise.withResolvers<Registration | undefined>();
    const left = new Set(servers);
    const subscription = this.#connection.subscribe(inbox, {
      callback: (error, message) => {
        if (error !== null) reject(busUnavailable(error));
        const holding = error === null ? this.#seal.open('holding', inbox, message.data) : undefined;
        if (holding === undefined) return;
        left.delete(holding.serverId);
        if (holding.registration !== null) resolve(holding.registration);
        else if (left.size === 0) resolve(undefined);
      },
    });
    const timer = setTimeout(() => {
      resolve(undefined);
    }, WAIT_MS);
    const stop = (): void => {
      reject(abortReason(signal));
    };
    signal.addEventListener('abort', stop, { once: true });
    try {
      const question = this.#seal.seal('question', this.#subject, { gatewayId });
      this.#connection.publish(this.#subject, question, { reply: inbox });
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      subscription.unsubscribe();
    }
  }
}
