"""Chat templates × tokenizers × losses: where the answers of a conversation are, or a line that says why not."""

import pytest

from tests.example_cases import Refused, assert_case, case, chatml, messages, turns
from tests.tokenizers_and_templates import TEMPLATES

TOOL = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
TOOLS = '<|im_start|>tools\n[{"type": "function", "function": {"name": "look", "parameters": {}}}]<|im_end|>\n'
CALL = [{"type": "function", "function": {"name": "look", "arguments": {"at": "x"}}}]
CALLED = '<call>look {"at": "x"}</call>'
U, UA, UAUA = ("u:Hi",), ("u:Hi", "a:Yes"), ("u:Hi", "a:Yes", "u:Bye", "a:No")
NOT_TOLD = "input_ids and labels"
NO_THOUGHTS = "<think>\n\n</think>\n\n"
LLAMA3 = "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>" + "".join(
    f"<|start_header_id|>user<|end_header_id|>\n\n{user}<|eot_id|>"
    f"<|start_header_id|>assistant<|end_header_id|>\n\n⟦{answer}<|eot_id|>⟧"
    for user, answer in (("Hi", "Yes"), ("Bye", "No"))
)
SHOUTING = (
    "{% for m in messages %}{{ m.content | upper if shout else m.content }}"
    "{% if m.role == 'assistant' %}</s>{% endif %}{% endfor %}"
)

CHATS = [
    case("last", messages(*UAUA), chatml("u:Hi", "a:Yes", "u:Bye", "A:No")),
    case("assistant", messages(*UAUA), chatml("u:Hi", "A:Yes", "u:Bye", "A:No"), loss_on="assistant"),
    case("all", messages(*UAUA), f"⟦{chatml(*UAUA)}⟧", loss_on="all"),
    case("all of users", messages(*U), f"⟦{chatml(*U)}⟧", loss_on="all"),
    case("no answer", messages(*U), Refused("row 0", "assistant")),
    case("trailing user", messages(*UA, "u:Bye"), chatml("u:Hi", "A:Yes")),
    case("trailing user all", messages(*UA, "u:Bye"), f"⟦{chatml(*UA, 'u:Bye')}⟧", loss_on="all"),
    case("trailing tool", messages(*UA, "t:42"), chatml("u:Hi", "A:Yes")),
    case("assistant first", messages("a:Hello", *UA), chatml("A:Hello", "u:Hi", "A:Yes"), loss_on="assistant"),
    case("assistant alone", messages("a:Hello"), "<|im_start|>assistant\n⟦Hello<|im_end|>⟧"),
    case("an answer empty", messages("u:Hi", "a:", "u:Bye", "a:No"), chatml("u:Hi", "a:", "u:Bye", "A:No")),
    case("an answer empty assistant", messages("u:Hi", "a:", "u:Bye", "a:No"), chatml("u:Hi", "A:", "u:Bye", "A:No"),
         loss_on="assistant"),
    case("the last answer empty", messages("u:Hi", "a:"), Refused("row 0", "nothing in its loss", "skip_empty")),
    case("an answer is in the prompt", messages("u:Yes", "a:Yes", "u:Yes", "a:Yes"),
         chatml("u:Yes", "A:Yes", "u:Yes", "A:Yes"), loss_on="assistant"),
    case("an answer in an answer", messages("u:Hi", "a:Bye Bye", "u:Bye", "a:Bye"),
         chatml("u:Hi", "A:Bye Bye", "u:Bye", "A:Bye"), loss_on="assistant"),
    case("two answers in a row", messages("u:Hi", "a:Yes", "a:No"), chatml("u:Hi", "A:Yes", "A:No"),
         loss_on="assistant"),
    case("the closing in a text", messages("u:Hi", "a:Say <|im_end|> now"), chatml("u:Hi", "A:Say <|im_end|> now")),
    case("developer", messages("d:Be", *UA), chatml("d:Be", "u:Hi", "A:Yes")),
    case("content parts",
         {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]},
         {"role": "assistant", "content": [{"type": "text", "text": "Y"}, {"type": "text", "text": "es"}]}]},
         chatml("u:Hi", "A:Yes")),
    case("an image", {"messages": [{"role": "user", "content": [{"type": "image", "url": "x"}]}, *turns("a:Yes")]},
         Refused("row 0, messages, 0, content, 0", "image", "text")),
    case("as JSON text", {"messages": '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]'},
         chatml("u:Hi", "A:Yes")),
    case("messages of a text", {"messages": "Hi"}, Refused("row 0, messages: 'Hi'", "give a list of turns")),
    case("no turns", {"messages": []}, Refused("row 0, messages", "no turns", "give one or more")),
    case("a turn without role", {"messages": [{"content": "Hi"}, *turns("a:Yes")]},
         Refused("row 0, messages, 0: no role", "needs role")),
    case("a turn without content", {"messages": [{"role": "user"}, *turns("a:Yes")]},
         Refused("row 0, messages, 0: no content", "needs role")),
    case("a turn of a text", {"messages": ["Hi"]}, Refused("row 0, messages, 0: 'Hi' is no turn", "role and content")),
    case("tools", messages(*UA, tools=TOOL), TOOLS + chatml("u:Hi", "A:Yes"), "tools"),
    case("tools named template", messages(*UA, tools=TOOL), TOOLS + chatml("u:Hi", "A:Yes"), "two"),
    case("named template", messages(*UA), chatml("u:Hi", "A:Yes"), "two"),
    case("tool call", {"messages": [*turns(*U), {"role": "assistant", "content": None, "tool_calls": CALL}]},
         chatml("u:Hi", "A:" + CALLED), "tools"),
    case("tool call and answer",
         {"messages": [*turns(*U), {"role": "assistant", "content": None, "tool_calls": CALL},
         *turns("t:7", "a:Seven")]}, chatml("u:Hi", "A:" + CALLED, "t:7", "A:Seven"), "tools", loss_on="assistant"),
    case("tools of a text", messages(*UA, tools="x"), Refused("row 0, tools: 'x'", "JSON schemas")),
    case("marks", messages(*UAUA), chatml("u:Hi", "A:Yes", "u:Bye", "A:No"), "marked", loss_on="assistant"),
    case("marks last", messages(*UAUA), chatml("u:Hi", "a:Yes", "u:Bye", "A:No"), "marked"),
    case("marks with tokenizer that merges", messages(*UAUA), chatml("u:Hi", "A:Yes", "u:Bye", "A:No"), "marked",
         "bpe", loss_on="assistant"),
    case("think each", messages(*UAUA), chatml("u:Hi", "A:Yes", "u:Bye", "A:No", think=NO_THOUGHTS), "think",
         loss_on="assistant"),
    case("think in the last answer alone", messages(*UAUA), chatml("u:Hi", "A:Yes", "u:Bye")
         + chatml("A:No", think=NO_THOUGHTS), "qwen3", loss_on="assistant"),
    case("reasoning", {"messages": [*turns(*U), {"role": "assistant", "content": "Yes", "reasoning_content": "Hm."}]},
         chatml("u:Hi", "A:Yes", think="<think>\nHm.\n</think>\n\n"), "think"),
    case("r1", messages(*UA), Refused("row 0", "where the answer", NOT_TOLD), "r1"),
    case("r1 all", messages(*UA), f"⟦{chatml(*UA)}⟧", "r1", loss_on="all"),
    case("mistral", messages("s:S", *UAUA), "<s>[INST] S\n\nHi [/INST]⟦ Yes</s>⟧[INST] Bye [/INST]⟦ No</s>⟧",
         "mistral", loss_on="assistant"),
    case("mistral llama2", messages("s:S", *UAUA), "<s>[INST] S\n\nHi [/INST]⟦ Yes</s>⟧[INST] Bye [/INST]⟦ No</s>⟧",
         "mistral", "llama2", loss_on="assistant"),
    case("mistral two users", messages("u:Hi", *UA), Refused("row 0", "must alternate"), "mistral"),
    case("mistral last system", messages("s:S", *UAUA), "<s>[INST] Hi [/INST] Yes</s>[INST] S\n\nBye [/INST]⟦ No</s>⟧",
         "mistral last"),
    case("mistral last system assistant", messages("s:S", *UAUA), Refused("row 0", "where the answer", NOT_TOLD),
         "mistral last", loss_on="assistant"),
    case("llama3", messages("s: S ", "u:Hi", "a:Yes", "u:Bye", "a:No "), LLAMA3, "llama3", "bos", loss_on="assistant"),
    case("zephyr", messages(*UA), "<|user|>\nHi</s>\n⟦<|assistant|>\nYes</s>⟧", "zephyr"),
    case("demanding", messages("s:S", *UA), chatml("s:S", "u:Hi", "A:Yes"), "demanding"),
    case("demanding, refused", messages(*UA), Refused("row 0", "A system turn is needed"), "demanding"),
    case("raising", messages(*UA), Refused("row 0", "the chat template refuses it (No chat)"), "raising"),
    case("undefined", messages(*UA), Refused("row 0", "the chat template refuses it"), "undefined"),
    case("system last", messages("s:S", *UA), Refused("row 0", "where the answer", NOT_TOLD), "system last"),
    case("dated", messages(*UA), "<|im_start|>system\nToday: 03 Feb 2024<|im_end|>\n" + chatml("u:Hi", "A:Yes"),
         "dated", date="2024-02-03"),
    case("dated, no date", messages(*UA), Refused("row 0", "writes the day", "give date", "YYYY-MM-DD"), "dated"),
    case("dated, no day", messages(*UA), Refused("date: 'May'", "YYYY-MM-DD"), "dated", date="May"),
    case("clock unused", messages(*UA), chatml("u:Hi", "A:Yes"), "clock unused"),
    case("cutting", messages("u:Hi", "a:<think>no</think> Yes"), chatml("u:Hi", "A:Yes"), "cutting"),
    case("marks of another named template", messages(*UA), chatml("u:Hi", "A:Yes"), "other marked"),
    case("a named template without default", messages(*UA), Refused("row 0", "no default"), "no default"),
    case("no assistant, but a model", {"messages": [*turns(*U), {"role": "model", "content": "Yes"}]},
         Refused("row 0", "assistant")),
    case("no template", messages(*UA), Refused("row 0", "no chat template", "tokenizer.chat_template"), "none"),
    case("template given", messages(*UA), chatml("u:Hi", "A:Yes"), "none", chat_template=TEMPLATES["chatml"]),
    case("template no file", messages(*UA), Refused("chat_template: 'nowhere.jinja'", "no file", "auto, none"),
         chat_template="nowhere.jinja"),
    case("template options", messages(*UA, chat_template_kwargs={"shout": True}), "HI⟦YES</s>⟧",
         chat_template=SHOUTING),
    case("wordpiece", messages("u:Hi", "a:Yes Sir"),
         "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Yes Sir<|im_end|>⟧", tokenizer="wordpiece"),
    case("llama2", messages(*UAUA), chatml("u:Hi", "A:Yes", "u:Bye", "A:No"), tokenizer="llama2", loss_on="assistant"),
    case("bos eos", messages(*UA), chatml("u:Hi", "A:Yes"), tokenizer="bos eos"),
    case("slow", messages(*UA), Refused("doesn't say where its tokens are", "fast", "input_ids and labels"),
         tokenizer="slow"),
    case("beyond ascii", messages("u:Ça va? 👩‍👩‍👧", "a:é 日本 🙂"), chatml("u:Ça va? 👩‍👩‍👧", "A:é 日本 🙂")),
]  # fmt: skip


@pytest.mark.parametrize("case", CHATS)
def test_the_answers_of_a_conversation_are_where_its_template_puts_them_or_a_line_says_why_not(case):
    assert_case(case)
