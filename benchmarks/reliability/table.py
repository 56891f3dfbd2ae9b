"""The results as a table, in two languages."""

LIBRARIES = {
    "ours": "torch_rechub",
    "existing": "Torch-RecHub",
    "lightning": "Lightning",
    "keras": "Keras",
    "transformers": "HF Trainer",
    "ignite": "ignite",
    "composer": "Composer",
    "skorch": "skorch",
}
NAMELESS = ("existing",)  # it has no argument that names a monitor
NO_BEST = ("composer",)  # it has no saving by score
WORDS = {
    "en": {
        "head": ["", "First value NaN", "Restore without a stop", "Patience 2 stops at", "Killed while saving", "Disk full while saving"],
        "more": ["Resume within an epoch", "Misspelt metric", "Negative scores: better / worse", "Ctrl-C"],
        "best": "best {}",
        "stops": "stops after epoch 1",
        "memory": "model {}",
        "file": "best file {}",
        "last": "last file {}",
        "no file": "no file",
        "unreadable": "unreadable",
        "epoch": "epoch {}",
        "misses": "miss {}",
        "never": "never",
        "keeps": "keeping {}: {}",
        "newest bad": "newest unreadable, {} before it",
        "none left": "nothing readable",
        "silent": "no error",
        "no resume": "not offered",
        "fails": "fails",
        "same": "same bits",
        "apart": "differs by up to {:.1g}",
        "before": "{} before training",
        "after": "{} after epoch {}",
        "warned": "trains on, {} warning(s)",
        "quiet": "trains on, silent",
        "nameless": "has no such name",
        "counted": "each counts",
        "stop": "stops at miss {}",
        "error": "{} after epoch {}",
        "raises": "raises {}",
        "returns": "returns",
    },
    "zh": {
        "head": ["", "首个值为 NaN", "未触发早停时的恢复", "patience=2 何时停", "保存途中被终止", "保存途中磁盘满"],
        "more": ["epoch 中途续训", "指标名拼错", "负分数：变好 / 变差", "Ctrl-C"],
        "best": "最优 {}",
        "stops": "第 1 个 epoch 后停止",
        "memory": "模型 {}",
        "file": "最优文件 {}",
        "last": "最新文件 {}",
        "no file": "无文件",
        "unreadable": "无法读取",
        "epoch": "epoch {}",
        "misses": "第 {} 次未提升",
        "never": "不停",
        "keeps": "保留 {} 个：{}",
        "newest bad": "最新的无法读取，之前有 {}",
        "none left": "无可读文件",
        "silent": "不报错",
        "no resume": "不提供",
        "fails": "失败",
        "same": "逐位一致",
        "apart": "最多相差 {:.1g}",
        "before": "训练前 {}",
        "after": "epoch {1} 后 {0}",
        "warned": "照常训练，{} 条警告",
        "quiet": "照常训练，无提示",
        "nameless": "没有可写的名字",
        "counted": "每次都算",
        "stop": "第 {} 次未提升时停",
        "error": "epoch {1} 后 {0}",
        "raises": "抛出 {}",
        "returns": "正常返回",
    },
}


class Cells:
    """One library's cells."""

    def __init__(self, name, answers, language):
        self.name, self.answers, self.words = name, answers, WORDS[language]
        self.comma = "；" if language == "zh" else "; "

    def say(self, word, *values):
        return self.words[word].format(*values)

    def kept(self, facts):
        """The epoch of the weights, in memory and on disk."""
        file = facts["file"]
        text = self.say("epoch", file) if isinstance(file, int) else self.say("no file" if "FileNotFound" in file else "unreadable")
        word = "last" if self.name in NO_BEST else "file"
        return [self.say("memory", self.say("epoch", facts["held"])), self.say(word, text)]

    def first_nan(self):
        facts = self.answers["first_nan"]
        text = self.say("stops") if facts["epochs_trained"] == 1 else self.say("best", facts["best"])
        return self.comma.join([text, *self.kept(facts)])

    def no_trigger(self):
        return self.comma.join(self.kept(self.answers["no_trigger"]))

    def patience(self):
        trained = self.answers["patience"]["epochs_trained"]
        return self.say("misses", trained - 1) if trained < 8 else self.say("never")

    def left(self, question):
        facts = self.answers[question]["left"]
        newest, others = facts["newest"], [each for each in facts["others"] if isinstance(each, int)]
        if isinstance(newest, int):
            return self.say("epoch", newest)
        return self.say("newest bad", self.say("epoch", max(others))) if others else self.say("none left")

    def killed(self):
        one, two = self.left("killed"), self.left("killed_of_two")
        return one if one == two else self.comma.join([self.say("keeps", 1, one), self.say("keeps", 2, two)])

    def full(self):
        raised = self.answers["full"]["run"].get("raised")
        return self.comma.join([raised or self.say("silent"), self.left("full")])

    def resume(self):
        facts = self.answers["resume"]
        if "same_bits" not in facts:
            return self.say("fails" if facts["possible"] else "no resume")
        return self.say("same") if facts["same_bits"] else self.say("apart", facts["apart"])

    def missing(self):
        facts = self.answers["missing"]
        if self.name in NAMELESS:
            return self.say("nameless")
        if "raised" in facts:
            return self.say("after" if facts["epochs_trained"] else "before", facts["raised"], facts["epochs_trained"])
        return self.say("warned", len(facts["said"])) if facts["said"] else self.say("quiet")

    def negative(self):
        text = []
        for question in ("negative_better", "negative_worse"):
            facts = self.answers[question]
            trained = facts["epochs_trained"]
            if "raised" in facts:
                text.append(self.say("error", facts["raised"], trained))
            else:
                text.append(self.say("counted") if trained == 6 else self.say("stop", trained - 1))
        return " / ".join(text)

    def ctrl_c(self):
        facts = self.answers["ctrl_c"]
        ending = self.say("raises", facts["raised"]) if "raised" in facts else self.say("returns")
        return self.comma.join([*self.kept(facts), ending])


ROWS = ("first_nan", "no_trigger", "patience", "killed", "full", "resume", "missing", "negative", "ctrl_c")


def markdown(found, language):
    """Questions as rows, libraries as columns; a library that did not run is named below."""
    words, names = WORDS[language], [name for name in LIBRARIES if "answers" in found.get(name, {})]
    titles = [f"{LIBRARIES[name]} {found[name]['versions'][0]}" for name in names]
    lines = ["| | " + " | ".join(titles) + " |", "|---" * (len(names) + 1) + "|"]
    for title, row in zip([*words["head"][1:], *words["more"]], ROWS, strict=True):
        cells = [getattr(Cells(name, found[name]["answers"], language), row)() for name in names]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines += [f"\n{LIBRARIES[name]}: {found[name]['absent'].splitlines()[-1]}" for name in LIBRARIES if "absent" in found.get(name, {})]
    return "\n".join(lines)
