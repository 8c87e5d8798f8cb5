/**
 * Loaded into a process before the program (`node --import`): it kills itself when it makes a version of an object of a store
 * in a directory, which is one hard link. The file that SGW_TEST_KILL names has how many links are made before that one; the
 * process dies before it makes it, and with `after` behind the number once it is made. No file: it lives. The file is counted
 * down, and gone when the process dies.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const { SGW_TEST_KILL: file = '' } = process.env;
const { link } = fs.promises;

/** What is to happen at this link. */
function planned(): string {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch {
    return 'live';
  }
  const [left = '', when = 'before'] = text.trim().split(' ');
  if (Number(left) === 0) return when;
  fs.writeFileSync(file, `${String(Number(left) - 1)} ${when}`);
  return 'live';
}

function die(): void {
  fs.unlinkSync(file);
  process.kill(process.pid, 'SIGKILL');
}

fs.promises.link = async (existing, path): Promise<void> => {
  const plan = planned();
  if (plan === 'before') die();
  await link(existing, path);
  if (plan === 'after') die();
};
syncBuiltinESMExports();
