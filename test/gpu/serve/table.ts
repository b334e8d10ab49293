/** A table that is told and kept row by row: a run that is cut short has said what it knows. */
import { appendFileSync, writeFileSync } from 'node:fs';

export class Table {
  /** `file`: Markdown, in the working folder */
  constructor(
    private readonly file: string,
    head: readonly string[],
  ) {
    writeFileSync(file, '');
    this.row(head);
    this.row(head.map(() => '---'));
  }

  row(cells: readonly (string | number)[]): void {
    this.say(`| ${cells.map((cell) => `${cell}`.replaceAll('|', '\\|').replace(/\s+/g, ' ')).join(' | ')} |`);
  }

  say(text: string): void {
    console.log(text);
    appendFileSync(this.file, `${text}\n`);
  }
}
