/** The log of a gateway whose files are out of reach: asked of its daemon, again and again to follow it. */
import { SgwError, systemClock, type Clock } from '../../kit/index.ts';
import type { GatewayLogsDocument, Input } from '../../localapi/index.ts';
import type { LogLineDocument } from '../documents.ts';
import type { ReadLogOptions } from './log-reader.ts';

const POLL_MS = 1000;

/** Who asks: a session. */
export interface LogCaller {
  readonly signal: AbortSignal;
  call(
    name: 'gateway.logs',
    input: Input<'gateway.logs'>,
    limits: { readonly isRepeated: boolean },
  ): Promise<GatewayLogsDocument>;
}

/** Oldest first. While it follows, a gateway that is out of reach is waited for. */
export async function* remoteLog(
  caller: LogCaller,
  { lines, follow }: ReadLogOptions,
  clock: Clock = systemClock,
): AsyncGenerator<LogLineDocument> {
  const { signal } = caller;
  let { lines: told, next } = await caller.call('gateway.logs', { lines }, { isRepeated: follow });
  for (;;) {
    yield* told;
    if (!follow) return;
    await clock.sleep(POLL_MS, signal).catch(() => undefined);
    if (signal.aborted) return;
    try {
      ({ lines: told, next } = await caller.call('gateway.logs', { after: next }, { isRepeated: true }));
    } catch (error) {
      if (!(error instanceof SgwError) || (error.kind !== 'unavailable' && error.kind !== 'timeout')) throw error;
      told = [];
    }
  }
}
