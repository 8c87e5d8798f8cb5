/** How messages get to the service: in memory here, over the network with the same contract. */
import { SgwError, throwIfAborted, toSgwError } from '../kit/index.ts';
import type { MessageInput, MessageName, MessageResult } from './messages.ts';

export interface ServiceTransport {
  /**
   * Sends a message and waits for its answer. A request whose answer was lost may be sent again: every message says
   * what then happens. One that is signed is signed anew for that: a signature is good once.
   * @throws what the service refuses with; unavailable, timeout
   */
  request<N extends MessageName>(
    name: N,
    input: MessageInput<N>,
    options: { readonly signal: AbortSignal },
  ): Promise<MessageResult<N>>;
}

/** The ways to a service that one process may have. */
export interface ServiceConnections {
  /** Of the service, which is its store's; requests are signed for it. */
  readonly serviceId: string;
  /** As a gateway: takes only what gateways say. */
  readonly gateway: ServiceTransport;
  /** As the customer or the operator, whom the service knows: takes what they say. */
  readonly operator: ServiceTransport;
}

/** Answers a message. */
export type MessageHandler = <N extends MessageName>(
  name: N,
  input: MessageInput<N>,
  options: { readonly signal: AbortSignal },
) => Promise<MessageResult<N>>;

/**
 * A transport within this process. What goes over it becomes text on the way, as it would over the network, so that
 * nothing is shared and nothing gets through that JSON can not carry.
 */
export function inMemoryTransport(handler: MessageHandler): ServiceTransport {
  return {
    request: async (name, input, { signal }) => {
      throwIfAborted(signal);
      try {
        return overWire(await handler(name, overWire(input), { signal }));
      } catch (error) {
        throw sentError(error);
      }
    },
  };
}

const overWire = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

/** What the other side gets of an error: its document, without the stack and the cause. */
function sentError(error: unknown): SgwError {
  const { kind, code, message, hint, details } = overWire(toSgwError(error).toDocument());
  return new SgwError(kind, code, message, { details, ...(hint === null ? {} : { hint }) });
}
