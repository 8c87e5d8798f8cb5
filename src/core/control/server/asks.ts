/** Secrets that calls under way have asked their callers for. An ask is answered once, by who was asked, or ends with its call. */
import { randomUUID } from 'node:crypto';
import { abortReason, SgwError } from '../../kit/index.ts';
import type { CallContext, KeySecret, SecretAnswer, SecretName, Secrets } from '../../localapi/index.ts';
import type { CallReply } from './call-reply.ts';

export class Asks {
  readonly #open = new Map<string, (answer: SecretAnswer) => void>();

  /** The secrets of a call whose caller can give `names`; undefined when it can give none. */
  secretsOf(names: readonly SecretName[], reply: CallReply, signal: AbortSignal): Pick<CallContext, 'secrets'> {
    const ask = (secret: SecretName) => async () => this.#ask(secret, reply, signal);
    if (!names.includes('unlock')) return {};
    const secrets: Secrets = { unlock: ask('unlock'), ...(names.includes('renew') ? { renew: ask('renew') } : {}) };
    return { secrets };
  }

  /** False when nobody waits for it. */
  answer(askId: string, answer: SecretAnswer): boolean {
    const take = this.#open.get(askId);
    take?.(answer);
    return take !== undefined;
  }

  async #ask(secret: SecretName, reply: CallReply, signal: AbortSignal): Promise<KeySecret> {
    const id = randomUUID();
    try {
      return await new Promise<KeySecret>((resolve, reject) => {
        const stop = (): void => {
          reject(abortReason(signal));
        };
        signal.addEventListener('abort', stop, { once: true });
        this.#open.set(id, (answer) => {
          signal.removeEventListener('abort', stop);
          if ('secret' in answer) resolve(answer.secret);
          else reject(SgwError.fromDocument(answer.error));
        });
        if (signal.aborted) stop();
        else reply.line({ ask: { id, secret } });
      });
    } finally {
      this.#open.delete(id);
    }
  }
}
