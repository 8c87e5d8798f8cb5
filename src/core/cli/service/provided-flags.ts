/** The flags of `service gateway configure` about serving: those of `configure` that a provider can judge from afar. */
import type { Interfaces } from '@oclif/core';
import type { MessageInput } from '../../serviceclient/index.ts';
import { servingFlags } from '../settings-flags.ts';
import { given } from '../values.ts';

type Serving = NonNullable<MessageInput<'gateway.configure'>['serving']>;

export const providedFlags = {
  'list-exports': servingFlags['list-exports'],
  'default-export': servingFlags['default-export'],
  cache: servingFlags.cache,
  'cache-ram': servingFlags['cache-ram'],
  buffer: servingFlags.buffer,
  'seal-interval': servingFlags['seal-interval'],
  'read-ahead': servingFlags['read-ahead'],
};

/** Undefined when none is given. */
export function providedServing(flags: Interfaces.InferredFlags<typeof providedFlags>): Serving | undefined {
  const wished: Serving = given({
    listExports: flags['list-exports'],
    defaultExport: flags['default-export']?.value,
    cacheBytes: flags.cache?.value,
    cacheRamBytes: flags['cache-ram']?.value,
    bufferBytes: flags.buffer?.value,
    sealIntervalMs: flags['seal-interval']?.value,
    readAheadBytes: flags['read-ahead']?.value,
  });
  return Object.keys(wished).length === 0 ? undefined : wished;
}
