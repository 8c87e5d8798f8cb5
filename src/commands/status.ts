import { SgwCommand, statusText } from '../core/cli/index.ts';

export default class Status extends SgwCommand {
  static override summary = 'Show the gateway, its store, and what needs attention.';
  static override description =
    'Shows whether the home is activated, where its store is, how much it holds, and what a person should know. It never asks for the key of an encrypted store: give it to see how much that holds.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run(): Promise<void> {
    const { flags } = await this.parse(Status);
    await using session = this.session(flags);
    const status = await session.call('status', {});
    await session.print(status, (style) => statusText(status, style));
    await session.next(status.activated ? 'sgw volume list' : 'sgw activate');
  }
}
