import path from 'node:path';
import { Args, Flags } from '@oclif/core';
import { demoText, flagsOf, runDemo, SgwCommand, withDemoFolder } from '../core/cli/index.ts';

export default class Demo extends SgwCommand {
  static override summary = 'Walk through the life of a disk image, step by step.';
  static override description =
    'Activates a gateway in a temporary home, imports an image, takes snapshots, changes and re-imports it, compares, clones and ' +
    'exports, and checks every export byte for byte. Each step is explained, with the command that does the same.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> disk.img --keep',
    '<%= config.bin %> <%= command.id %> --home /tmp/demo',
  ];
  static override args = {
    file: Args.string({
      description: 'Raw image to use; it is only read. One is made if none is given.',
      ignoreStdin: true,
    }),
  };
  static override flags = flagsOf('demo', {
    keep: Flags.boolean({ description: 'Keep the home and the files of the demo.' }),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Demo);
    const hasHome = this.argv.some((word) => word === '--home' || word.startsWith('--home='));
    await withDemoFolder(flags.keep, async (folder) => {
      await using session = this.session(hasHome ? flags : { ...flags, home: path.join(folder, 'home') });
      const demo = await runDemo(session, folder, { file: args.file, keep: flags.keep });
      await session.print(demo, (style) => demoText(demo, style));
      await session.next('sgw activate');
    });
  }
}
