/** What `--help` prints for every topic and command, on 80 columns. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { format } from 'node:util';
import { expect, vi } from 'vitest';
import { presentVerbs } from '../../src/core/cli/command-table.ts';
import { dispatch } from '../../src/core/cli/dispatch.ts';
import type { Runtime } from '../../src/core/cli/runtime.ts';
import { requireThat } from '../requirements.ts';
import { ROOT } from './run-verb.ts';

const manifest = requireThat(
  existsSync(path.join(ROOT, 'oclif.manifest.json')),
  'there is no manifest: run npm run build',
);
const runtime: Runtime = {
  env: { SGW_CONFIG_DIR: '/nonexistent' },
  stdin: new PassThrough(),
  stdout: new PassThrough(),
  stderr: new PassThrough(),
  interrupt: new AbortController().signal,
  openGateway: async () => Promise.reject(new Error('help opens no gateway')),
};

async function helpOf(words: readonly string[]): Promise<string> {
  const entryUrl = pathToFileURL(path.join(ROOT, 'bin', 'run.js')).href;
  const lines: string[] = [];
  vi.spyOn(console, 'log').mockImplementation((...words: unknown[]) => {
    lines.push(format(...words));
  });
  await dispatch([...words, '--help'], entryUrl, runtime);
  return lines.join('\n');
}

manifest.describe('help', () => {
  for (const verb of presentVerbs()) {
    manifest.it(`sgw ${verb} --help`, async () => {
      const text = await helpOf(verb.split(' '));
      expect(text).toContain(`$ sgw ${verb}`);
      expect(text).toContain('EXAMPLES');
      expect(
        Math.max(
          ...text
            .split('\n')
            .filter((line) => !line.startsWith('  $ '))
            .map((line) => line.length),
        ),
      ).toBeLessThanOrEqual(80);
      expect(text).toMatchSnapshot();
    });
  }

  for (const topic of ['volume', 'snapshot', 'store', 'service', 'service account']) {
    manifest.it(`sgw ${topic} --help lists its verbs`, async () => {
      const text = await helpOf(topic.split(' '));
      // A topic in the topic stands for its verbs.
      const words = topic.split(' ').length + 1;
      const listed = presentVerbs().filter((one) => one.startsWith(`${topic} `));
      for (const verb of listed) expect(text).toContain(verb.split(' ').slice(0, words).join(' '));
      expect(text).toMatchSnapshot();
    });
  }

  manifest.it('sgw --help lists topics and commands', async () => {
    const text = await helpOf([]);
    for (const word of ['TOPICS', 'COMMANDS', 'volume', 'snapshot', 'store', 'activate', 'status', 'configure', 'demo'])
      expect(text).toContain(word);
  });
});
