/** A request to another server over NATS, and the wait for its answer. */
import { randomUUID } from 'node:crypto';
import { createInbox, type NatsConnection } from '@nats-io/transport-node';
import { abortReason, toSgwError, type Clock, type SgwError } from '../../kit/index.ts';
import { sentError } from '../../protocol/index.ts';
import type { RequestHow } from './control-bus.ts';
import { busUnavailable, gatewayTimedOut, requestTooLong, serverGone } from './failures.ts';
import type { BusSeal, Reply } from './nats-wire.ts';

/** Who took a request, or works on it, shows that at least this often. */
export const ALIVE_MS = 2000;
/** Without a sign for this long it counts as gone. */
const SILENT_MS = 7000;
/** What NATS answers when nobody listens at a subject. */
const NOBODY = 503;

interface Means {
  readonly connection: NatsConnection;
  readonly seal: BusSeal;
  readonly clock: Pick<Clock, 'nowMs'>;
}

/** @see ControlBus.request */
export async function sendRequest(means: Means, subject: string, body: unknown, how: RequestHow): Promise<unknown> {
  const { connection, seal, clock } = means;
  const { deadlineMs, signal, onPart } = how;
  const id = randomUUID();
  const sent = { t: 'request', id, body, deadlineMs, sentAtMs: clock.nowMs() } as const;
  const bytes = seal.seal('sent', subject, sent);
  if (bytes.length > (connection.info?.max_payload ?? 0)) throw requestTooLong();
  const inbox = createInbox();
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const pieces: string[] = [];
  let silence: NodeJS.Timeout | undefined;
  const isAlive = (): void => {
    clearTimeout(silence);
    silence = setTimeout(() => {
      // It may have got it, however late.
      reject(serverGone(true));
    }, SILENT_MS);
  };
  const subscription = connection.subscribe(inbox, {
    callback: (error, message) => {
      if (error !== null) {
        reject(busUnavailable(error));
        return;
      }
      if (message.headers?.code === NOBODY) {
        reject(serverGone(false));
        return;
      }
      const reply = seal.open('reply', inbox, message.data);
      if (reply === undefined) return;
      isAlive();
      take(reply, pieces, { onPart, resolve, reject });
    },
  });
  const deadline = setTimeout(() => {
    leave(gatewayTimedOut(deadlineMs));
  }, deadlineMs);
  function leave(failure: SgwError): void {
    if (!connection.isClosed()) connection.publish(subject, seal.seal('sent', subject, { t: 'cancel', id }));
    reject(failure);
  }
  const stop = (): void => {
    leave(abortReason(signal));
  };
  signal.addEventListener('abort', stop, { once: true });
  try {
    isAlive();
    connection.publish(subject, bytes, { reply: inbox });
    if (signal.aborted) stop();
    return await promise;
  } finally {
    clearTimeout(silence);
    clearTimeout(deadline);
    signal.removeEventListener('abort', stop);
    subscription.unsubscribe();
  }
}

interface Outcome {
  readonly onPart: (part: unknown) => void;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (failure: SgwError) => void;
}

function take(reply: Reply, pieces: string[], { onPart, resolve, reject }: Outcome): void {
  switch (reply.t) {
    case 'alive':
      return;
    case 'part':
      onPart(reply.part);
      return;
    case 'piece':
      pieces.push(reply.text);
      return;
    case 'error':
      reject(sentError(reply.error));
      return;
    case 'answer':
      try {
        resolve(pieces.length === 0 ? reply.answer : (JSON.parse(pieces.join('')) as unknown));
      } catch (error) {
        reject(toSgwError(error));
      }
  }
}
