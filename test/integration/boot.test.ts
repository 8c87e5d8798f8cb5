/** The example of docs/examples/boot.md, as it is: a Linux system on a shadowed image, lost, and booted while it is restored. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { ended } from '../cli/gateway-rig.ts';
import { ROOT } from '../cli/run-verb.ts';
import { requireThat, toolPath } from '../requirements.ts';

const TOOLS = ['bash', 'qemu-system-x86_64', 'busybox', 'mkfs.ext4', 'e2fsck', 'debugfs', 'dpkg-deb', 'timeout'];
/** About half a minute alone; it shares the cores with other tests. */
const TIMEOUT_MS = 240_000;
/** At which the restore goes on for longer than a boot takes beside other tests. */
const RATE = '256KiB';

const kernel = process.env['SGW_BOOT_KERNEL'] ?? '';
const missing = TOOLS.filter((tool) => toolPath(tool) === undefined);
const lacking = [
  ...(missing.length > 0 ? [`${missing.join(', ')} not installed`] : []),
  ...(existsSync(kernel) ? [] : ['SGW_BOOT_KERNEL does not name the Debian package of a kernel']),
];

requireThat(lacking.length === 0, lacking.join(', and ')).it(
  'a system boots from its shadowed image, and again from the image while it is restored, and goes on from where it was',
  async () => {
    const script = path.join(ROOT, 'scripts/boot-example.sh');
    // Before the test's own end, so that the script stops what it started.
    const child = spawn('bash', [script, kernel, RATE], { timeout: TIMEOUT_MS - 10_000 });
    const { exitCode, stdout, stderr } = await ended(child);
    expect({ exitCode, output: stdout + stderr }).toMatchObject({
      exitCode: 0,
      output: expect.stringMatching(
        /^vm: boot 1, \d+ files are whole$[^]*^vm: boot 2, \d+ files are whole$[^]*^PASS$/m,
      ),
    });
    expect(stdout).toMatch(/^at its end \d{1,2} % was restored \(restoring\)/m);
  },
  TIMEOUT_MS,
);
