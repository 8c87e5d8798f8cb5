/** Those who collect garbage: at any time, several at once, stopped anywhere. */
import { collectGarbage, rewriteVolume, type GcReport } from '../../../src/core/blockstore/gc/index.ts';
import { ACCOUNTS } from '../disk-state.ts';
import { attempt, pause, type Actor } from './actor.ts';

export async function gcProcess(actor: Actor): Promise<void> {
  while (!actor.closing()) {
    const report = await collect(actor);
    if (report !== undefined && actor.choices.chance(0.7)) await rewrite(actor, report);
    await pause(actor);
  }
}

async function collect(actor: Actor): Promise<GcReport | undefined> {
  const { gcGraceMs: graceMs, undeleteMs } = actor.settings;
  let report: GcReport | undefined;
  await attempt(actor, 'gc', async () => {
    report = await collectGarbage(actor.options, { graceMs, undeleteMs });
    actor.tally.event('objects removed by gc', report.removed.objects);
  });
  return report;
}

/** One run without rewriting. */
export async function collectOnce(actor: Actor): Promise<void> {
  await collect(actor);
}

/** Rewrites poor segments of volumes that nobody holds. */
async function rewrite(actor: Actor, report: GcReport): Promise<void> {
  const { snapshotIds } = report;
  const holder = { gatewayId: 'sgw-0000000c', name: 'gc' };
  for (const [volumeId, candidates] of report.ownSegments) {
    const { auditor } = actor;
    const before = auditor.head(volumeId)?.epoch ?? 0;
    await attempt(
      actor,
      'rewrite',
      async () => {
        const request = { holder, accountId: ACCOUNTS[0], candidates, snapshotIds };
        const { segments } = await rewriteVolume(actor.options, volumeId, request);
        actor.tally.event('segments rewritten', segments);
      },
      // Its candidates are of a mark that may be old: what it reads before it holds the volume may be gone.
      (error) =>
        error.kind === 'corrupt' &&
        ((auditor.head(volumeId)?.epoch ?? 0) > before + 1 || auditor.volumes.get(volumeId)?.deletion !== 'none'),
    );
  }
}
