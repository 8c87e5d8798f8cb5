/**
 * A process that increments a counter file under a lock: `lock-racer.ts HOME COUNTER COUNT`. Prints a line after each
 * increment. With COUNT 0 it takes the lock, says so, and holds it until it is killed.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { acquireLock } from '../../../src/core/state/index.ts';

const [home = '', counter = '', count = '0'] = process.argv.slice(2);
const request = { home, name: 'volume:vol-1', purpose: 'counting' };

if (Number(count) === 0) {
  await acquireLock(request);
  process.stdout.write('held\n');
  setInterval(() => undefined, 1000);
}
for (let done = 0; done < Number(count); done++) {
  const lock = await acquireLock(request);
  const value = Number(readFileSync(counter, 'utf8'));
  await new Promise((resume) => setImmediate(resume));
  const temporary = `${counter}.${String(process.pid)}`;
  writeFileSync(temporary, String(value + 1));
  renameSync(temporary, counter);
  await lock.release();
  process.stdout.write('+\n');
}
