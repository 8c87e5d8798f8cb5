/**
 * Metadata contexts of sgw's own, by which its client and server follow a volume safely (docs/CONNECT.md). Other servers do not know
 * them, and say so in the protocol's own way. They have no status: a reply to BLOCK_STATUS never has them.
 *
 * `sgw:writer`, listed as `sgw:writer:VOLUME:EPOCH`: which volume it is, and the epoch of its writer. A client that has seen a newer
 * one leaves an old holder that does not know yet, and one that comes upon another volume of the same name leaves that alone.
 *
 * `sgw:client:ID`, when it is chosen: the connection is that of client ID. The server ends an earlier one of the same ID, and
 * answers when nothing that was asked for there can happen any more, so that a request that is sent again is not followed by its
 * first copy.
 */
import type { Writer } from './exports.ts';

export const WRITER_CONTEXT = 'sgw:writer';
export const CLIENT_CONTEXT = 'sgw:client:';

export const writerContext = ({ volume, epoch }: Writer): string => `${WRITER_CONTEXT}:${volume}:${String(epoch)}`;

/** The writer that a context tells of; undefined when it is another context. */
export function writerOf(name: string): Writer | undefined {
  const [, volume, epoch] = /^sgw:writer:([\w-]{1,100}):(\d{1,15})$/.exec(name) ?? [];
  return volume === undefined ? undefined : { volume, epoch: Number(epoch) };
}

/** The client that one of the queries names. */
export function clientOf(queries: readonly string[]): string | undefined {
  for (const query of queries) {
    const id = /^sgw:client:([0-9a-f]{32})$/.exec(query)?.[1];
    if (id !== undefined) return id;
  }
  return undefined;
}
