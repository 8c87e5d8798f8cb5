/** Volumes whose import was begun and has not ended: what refuses them, and how to go on. */
import type { VolumeEntry } from '../blockstore/index.ts';
import { SgwError, shellWord } from '../kit/index.ts';

/** @throws conflict `import-unfinished` when the volume's contents are half of an import */
export function requireFinished(entry: VolumeEntry): void {
  if (entry.unfinishedImport === null) return;
  throw new SgwError(
    'conflict',
    'import-unfinished',
    `the import of ${entry.unfinishedImport.source} into volume "${entry.name}" is not finished`,
    {
      hint: importAgain(entry),
      details: { volumeId: entry.volumeId, source: entry.unfinishedImport.source },
    },
  );
}

/** Tells whose write log a volume was recovered from. */
export const RECOVERED_TAG = 'sgw:recovered-from';

/** How to go on with an unfinished import. */
export function importAgain(entry: VolumeEntry): string {
  const recovered = entry.tags[RECOVERED_TAG];
  if (recovered !== undefined && entry.state === 'importing')
    return `Finish it: sgw doctor --recover-log ${recovered} --into ${entry.name}`;
  const source = shellWord(entry.unfinishedImport?.source ?? 'FILE');
  const target = entry.state === 'importing' ? `--name ${entry.name}` : `--into ${entry.name}`;
  return `Finish it: sgw volume import ${source} ${target}`;
}
