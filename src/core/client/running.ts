/** The daemon of a home, looked up without loading room `state` before it is needed: help and errors of usage need none of it. */
import type { RunningGateway } from '../state/index.ts';

export type { RunningGateway };

/** The living daemon of a home; undefined when there is none. */
export async function runningGateway(home: string): Promise<RunningGateway | undefined> {
  const state = await import('../state/index.ts');
  return await state.runningGateway(home);
}
