/** Those who collect garbage: at any time, several at once, stopped anywhere. */
import { collectGarbage } from '../../../src/core/blockstore/index.ts';
import { attempt, pause, type Actor } from './actor.ts';

export async function gcProcess(actor: Actor): Promise<void> {
  while (!actor.closing()) {
    await runGc(actor);
    await pause(actor, actor.settings.graceMs * 2);
  }
}

/** One run; true when it ended well. */
export async function runGc(actor: Actor): Promise<boolean> {
  const { graceMs, undeleteMs } = actor.settings;
  return await attempt(actor, 'gc', async () => {
    const report = await collectGarbage(actor.options, { graceMs, undeleteMs });
    actor.tally.event('objects removed by gc', report.removed.objects);
  });
}
