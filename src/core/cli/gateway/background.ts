/**
 * What `gateway start` and the process that it starts say to each other, over the channel that Node.js makes between them: a
 * secret never is an argument or a variable. The child says `loaded`, `ready` or `failed`, and asks for the secret if the store
 * is encrypted; the channel is closed when it is ready.
 */
import type { ErrorDocument } from '../../kit/index.ts';
import { SgwError } from '../../kit/index.ts';
import type { KeySecret, SecretAnswer } from '../../localapi/index.ts';

export interface ReadyGateway {
  readonly pid: number;
  readonly socket: string;
}

/** What the child says; exactly one of these is there. */
export interface ChildMessage {
  readonly loaded?: true;
  readonly ready?: ReadyGateway;
  readonly failed?: ErrorDocument;
  readonly ask?: 'unlock';
}

/** The child's side. */
export interface ParentChannel {
  /** Resolves when the message is out, or nobody is there to hear it. */
  say(message: ChildMessage): Promise<void>;
  /** Asks the parent for the secret of the store. @throws what the parent answers; `key-missing` when it is gone */
  unlock(): Promise<KeySecret>;
  close(): void;
}

/** The channel to the process that started this one in the background. */
export function parentChannel(): ParentChannel {
  return {
    say: async (message) => {
      // A parent that was killed hears nothing, and the gateway goes on.
      if (!process.connected) return;
      await new Promise<void>((resolve) => {
        process.send?.(message, () => {
          resolve();
        });
      });
    },
    unlock: async () => {
      const answer = await new Promise<SecretAnswer>((resolve) => {
        const gone = (): void => {
          resolve({ error: parentGone().toDocument() });
        };
        if (!process.connected) {
          gone();
          return;
        }
        process.once('disconnect', gone);
        process.once('message', (message) => {
          process.off('disconnect', gone);
          resolve(message as SecretAnswer);
        });
        process.send?.({ ask: 'unlock' } satisfies ChildMessage, () => undefined);
      });
      if ('error' in answer) throw SgwError.fromDocument(answer.error);
      return answer.secret;
    },
    close: () => {
      if (process.connected) process.disconnect();
    },
  };
}

const parentGone = (): SgwError =>
  new SgwError('invalid', 'key-missing', 'the process that would have given the key of the store is gone');
