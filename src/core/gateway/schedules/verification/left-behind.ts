/** Commands that went on when the process that ran them was killed. */
import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { sep } from 'node:path';

/**
 * Ends the process groups of what works in a folder that is for this user's verifications alone, or was given a TMPDIR in it and
 * works elsewhere by now. Where there is no `/proc`, none are found: they end when what they look at is gone.
 */
export async function endCommandsIn(folder: string): Promise<void> {
  const own = await groupOf('self');
  const places = [folder, await realpath(folder).catch(() => folder)].map((path) => `${path}${sep}`);
  for (const pid of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(pid)) continue;
    const at = await readlink(`/proc/${pid}/cwd`).catch(() => '');
    const given = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    if (!places.some((place) => at.startsWith(place) || `\0${given}`.includes(`\0TMPDIR=${place}`))) continue;
    const group = await groupOf(pid);
    if (group === undefined || group === own) continue;
    try {
      process.kill(-group, 'SIGKILL');
    } catch {
      // It has ended.
    }
  }
}

/** Field 5 of `stat`: the second is a name in parentheses, and may hold anything. */
async function groupOf(pid: string): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  const group = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
  return Number.isSafeInteger(group) && group > 1 ? group : undefined;
}
